// Loads a page and all that it names by net/http over HTTP/2: go run client.go URL CERTIFICATE ADDRESS
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync"
	"time"
)

func main() {
	url, address := os.Args[1], os.Args[3]
	certificate, err := os.ReadFile(os.Args[2])
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: dial, ForceAttemptHTTP2: true,
	}}
	page, err := get(client, url+"/")
	if err != nil {
		fail(err)
	}
	names := regexp.MustCompile(`(?:src|href)=(/[^ >]+)`).FindAllStringSubmatch(page, -1)
	var waiting sync.WaitGroup
	errors := make(chan error, len(names))
	for _, name := range names {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			if _, err := get(client, url+name[1]); err != nil {
				errors <- err
			}
		}()
	}
	waiting.Wait()
	if len(errors) > 0 {
		fail(<-errors)
	}
	fmt.Println("loaded", len(names)+1)
}

func get(client *http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != 200 || response.ProtoMajor != 2) {
		err = fmt.Errorf("%s: %s by %s", url, response.Status, response.Proto)
	}
	return string(body), err
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
