// An endpoint of five parts on Go's net/http, as one would write it by hand: four fetched at once, and the
// fifth as soon as the first has said what for.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

const maxResponse = 1 << 20

type part struct {
	name string
	body json.RawMessage
	err  error
}

type answer struct {
	Parts     map[string]json.RawMessage `json:"parts"`
	Complete  bool                       `json:"complete"`
	Errors    map[string]string          `json:"errors"`
	TotalTime float64                    `json:"total_time"`
}

var (
	base   = os.Getenv("URLS")
	digits = regexp.MustCompile(`^[0-9]+$`)
	client = &http.Client{
		Timeout: 3 * time.Second,
		Transport: &http.Transport{
			MaxIdleConns:        0, // no limit
			MaxIdleConnsPerHost: 4096,
			DisableCompression:  true,
		},
	}
)

func get(name, path string) part {
	response, err := client.Get(base + path)
	if err != nil {
		return part{name: name, err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("HTTP %s", response.Status)
	}
	if err == nil && !json.Valid(body) {
		err = fmt.Errorf("not JSON")
	}
	return part{name, body, err}
}

func profileAndBalance(id string, parts chan<- part) {
	profile := get("profile", "/profiles/"+id)
	parts <- profile
	var fields struct {
		Data struct {
			Account string `json:"account"`
		} `json:"data"`
	}
	err := profile.err
	if err == nil {
		err = json.Unmarshal(profile.body, &fields)
	}
	if err != nil {
		parts <- part{name: "balance", err: fmt.Errorf("skipped: %w", err)}
		return
	}
	parts <- get("balance", "/accounts/"+url.PathEscape(fields.Data.Account))
}

func customer(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := strings.TrimPrefix(r.URL.Path, "/api/customers/")
	if !digits.MatchString(id) {
		http.Error(w, "no such id", http.StatusUnprocessableEntity)
		return
	}
	parts := make(chan part, 5)
	go profileAndBalance(id, parts)
	for _, name := range []string{"orders", "invoices", "tickets"} {
		go func(name string) { parts <- get(name, "/"+name+"/"+id) }(name)
	}
	all := answer{Parts: map[string]json.RawMessage{}, Complete: true, Errors: map[string]string{}}
	for i := 0; i < cap(parts); i++ {
		part := <-parts
		if part.err != nil {
			all.Complete = false
			all.Errors[part.name] = part.err.Error()
		} else {
			all.Parts[part.name] = part.body
		}
	}
	all.TotalTime = time.Since(start).Seconds()
	status := http.StatusOK
	if _, failed := all.Errors["profile"]; failed {
		status = http.StatusBadGateway
	}
	body, err := json.Marshal(all)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func main() {
	http.HandleFunc("/api/customers/", customer)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
