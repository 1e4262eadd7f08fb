// The fan-out on Go's net/http: a goroutine for each fetch, one shared client with warm connections.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	contentChars = 100
	maxResponse  = 1 << 20
)

type result struct {
	URL     string  `json:"url"`
	Status  int     `json:"status,omitempty"`
	Content string  `json:"content,omitempty"`
	Error   string  `json:"error,omitempty"`
	Elapsed float64 `json:"elapsed"`
}

type answer struct {
	Results   []result `json:"results"`
	TotalTime float64  `json:"total_time"`
}

var (
	urls   = strings.Fields(os.Getenv("URLS"))
	client = &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			MaxIdleConns:        0, // no limit
			MaxIdleConnsPerHost: 4096,
			DisableCompression:  true,
		},
	}
)

func get(url string) (int, string, error) {
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return response.StatusCode, "", err
	}
	if response.StatusCode >= 400 {
		return response.StatusCode, "", fmt.Errorf("HTTP %s", response.Status)
	}
	if len(body) > contentChars {
		body = body[:contentChars]
	}
	return response.StatusCode, string(body), nil
}

func fetch(url string) result {
	start := time.Now()
	status, content, err := get(url)
	part := result{URL: url, Status: status, Content: content, Elapsed: time.Since(start).Seconds()}
	if err != nil {
		part.Error = err.Error()
	}
	return part
}

func concurrentRequests(w http.ResponseWriter, _ *http.Request) {
	start := time.Now()
	parts := make(chan result, len(urls))
	for _, url := range urls {
		go func(url string) { parts <- fetch(url) }(url)
	}
	all := answer{Results: make([]result, 0, len(urls))}
	for range urls {
		all.Results = append(all.Results, <-parts)
	}
	all.TotalTime = time.Since(start).Seconds()
	writeJSON(w, all)
}

func live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"status": "live"})
}

func writeJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func main() {
	http.HandleFunc("/concurrent_requests/", concurrentRequests)
	http.HandleFunc("/health/live", live)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
