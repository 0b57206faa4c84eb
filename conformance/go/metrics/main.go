// Gives autoscalers a gauge of Pods, as a metrics adapter does, by asking the Pods themselves:
//
//	metrics ADDRESS KUBECTL GAUGE PORT
//
// It serves custom.metrics.k8s.io/v1beta2 by HTTPS with a certificate of its own making, and knows one gauge, which it adds up over its
// labels. Which Pods there are it asks KUBECTL each time.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	group    = "custom.metrics.k8s.io/v1beta2"
	patience = 10 * time.Second
)

type object map[string]any

type pods struct {
	Items []struct {
		Metadata struct{ Name string }
		Status   struct{ PodIP string }
	}
}

type adapter struct{ kubectl, gauge, port string }

func main() {
	if len(os.Args) != 5 {
		log.Fatal("metrics ADDRESS KUBECTL GAUGE PORT")
	}
	own := adapter{kubectl: os.Args[2], gauge: os.Args[3], port: os.Args[4]}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/"+group, own.resources)
	mux.HandleFunc("GET /apis/"+group+"/namespaces/{namespace}/pods/{pod}/{metric}", own.values)
	server := http.Server{
		Addr:        os.Args[1],
		Handler:     mux,
		ReadTimeout: patience,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{certificate()}},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func (own adapter) resources(answer http.ResponseWriter, _ *http.Request) {
	resource := object{"name": "pods/" + own.gauge, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": []string{"get"}}
	say(answer, object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": []object{resource}})
}

func (own adapter) values(answer http.ResponseWriter, request *http.Request) {
	if request.PathValue("metric") != own.gauge {
		http.NotFound(answer, request)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), patience)
	defer cancel()
	namespace := request.PathValue("namespace")
	found, err := own.pods(ctx, namespace, request.URL.Query().Get("labelSelector"))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	items := []object{}
	for _, pod := range found.Items {
		// One that does not answer has no value, which autoscalers know what to do with.
		value, err := own.value(ctx, pod.Status.PodIP)
		if err != nil {
			log.Print(err)
			continue
		}
		items = append(items, object{
			"describedObject": object{"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": pod.Metadata.Name},
			"metric":          object{"name": own.gauge},
			"timestamp":       time.Now().UTC().Format(time.RFC3339),
			"value":           strconv.FormatInt(value, 10),
		})
	}
	say(answer, object{"kind": "MetricValueList", "apiVersion": group, "metadata": object{}, "items": items})
}

func (own adapter) pods(ctx context.Context, namespace, selector string) (pods, error) {
	var found pods
	text, err := exec.CommandContext(ctx, own.kubectl, "get", "pods", "--namespace", namespace, "--selector", selector, "-o", "json").Output()
	if err != nil {
		return found, fmt.Errorf("kubectl get pods: %w", err)
	}
	return found, json.Unmarshal(text, &found)
}

// The sum of the gauge over its labels.
func (own adapter) value(ctx context.Context, ip string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ip+":"+own.port+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var sum float64
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		if plain, _, _ := strings.Cut(name, "{"); plain != own.gauge {
			continue
		}
		// Values of labels may have spaces in them; the number is what comes last.
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return int64(sum), lines.Err()
}

func say(answer http.ResponseWriter, what object) {
	answer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(answer).Encode(what); err != nil {
		log.Print(err)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
