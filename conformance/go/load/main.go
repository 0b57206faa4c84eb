// A load that never changes, to see what of it fails while something else does:
//
//	load URL [CLIENTS [INTERVAL]]
//
// Every client sends a request each INTERVAL. Every second one keeps its connection, the others open a new one for
// each request. It ends with a signal, or after half an hour, and says what it saw as one line of JSON; the exit code is
// 1 where anything but 200 came. As browsers do, net/http sends a GET again by itself where a connection that was idle
// turns out to be closed.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The longest that a request may take.
const patience = 10 * time.Second

// No load is forgotten for longer.
const longest = 30 * time.Minute

type sum struct {
	mutex     sync.Mutex
	Requests  int            `json:"requests"`
	Failures  int            `json:"failures"`
	Causes    map[string]int `json:"causes"`
	SlowestMs int64          `json:"slowestMs"`
}

func (sum *sum) add(cause string, took time.Duration) {
	sum.mutex.Lock()
	defer sum.mutex.Unlock()
	sum.Requests++
	sum.SlowestMs = max(sum.SlowestMs, took.Milliseconds())
	if cause != "" {
		sum.Failures++
		sum.Causes[cause]++
		fmt.Fprintln(os.Stderr, time.Now().UTC().Format("15:04:05.000"), cause)
	}
}

func ask(client *http.Client, url string) string {
	answer, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "the body broke off: " + err.Error()
	}
	if answer.StatusCode != http.StatusOK {
		return answer.Status
	}
	return ""
}

func send(url string, keep bool, interval time.Duration, end <-chan struct{}, sum *sum) {
	transport := &http.Transport{DisableKeepAlives: !keep}
	client := &http.Client{Transport: transport, Timeout: patience}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		start := time.Now()
		cause := ask(client, url)
		sum.add(cause, time.Since(start))
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "load URL [CLIENTS [INTERVAL]]")
		os.Exit(2)
	}
	clients, interval := 8, 50*time.Millisecond
	if len(os.Args) > 2 {
		clients, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		interval, _ = time.ParseDuration(os.Args[3])
	}
	if clients < 1 || clients > 1000 || interval <= 0 {
		fmt.Fprintln(os.Stderr, "CLIENTS is 1 to 1000, INTERVAL such as 50ms")
		os.Exit(2)
	}
	total := &sum{Causes: map[string]int{}}
	end := make(chan struct{})
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() { send(os.Args[1], client%2 == 0, interval, end, total) })
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-signals:
	case <-time.After(longest):
	}
	close(end)
	running.Wait()
	line, _ := json.Marshal(total)
	fmt.Println(string(line))
	if total.Failures > 0 {
		os.Exit(1)
	}
}
