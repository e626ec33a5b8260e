package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Scenarios that are called. An agent's telephone calls a number; the server calls it over a trunk that ends at the
// scenario's sipp. Each has its own agent, telephone, trunk and number: what is late of one call must not reach the next.

const lines = 64 // at most so many scenarios are called

func lineUser(i int) string          { return fmt.Sprintf("line%d", i) }
func linePrefix(i int) string        { return fmt.Sprintf("+4940%03d", i) }
func (s *server) linePort(i int) int { return s.port + 8 + i }

// registrars are scenarios that a trunk of ours registers with: the server asks them when it starts.
var registrars = []string{"uas-auth.xml", "uas-auth-two-algo.xml", "uas-register-ip-change.xml", "uas-register-ip-change-port-only.xml"}

func (s *server) registrarPort(i int) int { return s.port + 8 + lines + i }

// manner is how the telephone behaves in a scenario: how long it lets it ring, and how long it talks. A scenario that hangs
// up itself gets the time for that.
type manner struct{ ring, talk time.Duration }

func mannerOf(file string) manner {
	m := manner{ring: 12 * time.Second, talk: 10 * time.Second}
	switch {
	case strings.HasPrefix(file, "uas-cancel"), strings.HasPrefix(file, "uas-answer-183"), file == "uas-timeout-cancel.xml":
		m.ring = 3 * time.Second // then it hangs up
	case file == "uas-answer-200-inv-without-sdp.xml", strings.HasPrefix(file, "uas-keep"), file == "uas.xml", strings.HasPrefix(file, "uas-dial"):
		m.talk = 3 * time.Second
	case strings.HasPrefix(file, "uas-timer-"):
		m.talk = 60 * time.Second // they want 90 s: refreshed after 45
	}
	return m
}

// callees runs scenarios that are called, four at once; the first of them takes the given line.
func (s *server) callees(ctx context.Context, suite, dir string, names []string, first int) ([]result, error) {
	results, errs := make([]result, len(names)), make([]error, len(names))
	var running sync.WaitGroup
	atOnce := make(chan struct{}, 4)
	for i, name := range names {
		running.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			results[i], errs[i] = s.callee(ctx, suite, dir, name, first+i)
		})
	}
	running.Wait()
	return results, errors.Join(errs...)
}

func (s *server) callee(ctx context.Context, suite, dir, name string, at int) (result, error) {
	p, err := s.openPhone(lineUser(at))
	if err != nil {
		return result{}, err
	}
	defer p.close()
	m := mannerOf(name)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		code int
		got  string
	}
	said := make(chan end, 1)
	go func() {
		x := scenario{file: name, port: s.linePort(at), limit: m.ring + m.talk, args: []string{"-rtp_echo"}}
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil && strings.HasPrefix(name, "uas-timer-") { // they last: there must be sound
			x.text = strings.ReplaceAll(string(text), "m=audio 17294", "m=audio [media_port]")
		}
		code, got := s.runSIPp(ctx, 200+at, dir, x)
		said <- end{code, got}
	}()
	if err := s.call(ctx, p, linePrefix(at)+"12345", m.ring, m.talk); err != nil {
		return result{}, err
	}
	var e end
	select {
	case e = <-said:
	case <-time.After(8 * time.Second): // it waits for something that will not come
		cancel()
		<-said
		e = end{-1, "waits on"}
	}
	if p.code != "" {
		e.got += ", agent: " + p.code
	}
	if os.Getenv("VERBOSE") != "" && e.code != 0 {
		fmt.Fprintf(os.Stderr, "--- %s: %s %s\n", name, e.got, p.reason)
	}
	return judge(suite, name, "exit 0", e.got, e.code == 0), nil
}

// registered runs the scenarios that a trunk of ours registers with: the server is started anew beside them.
func (s *server) registered(ctx context.Context, suite, dir string) (results func() []result, err error) {
	list := make([]result, len(registrars))
	if err := s.stop(); err != nil {
		return nil, err
	}
	var running sync.WaitGroup
	for i, name := range registrars {
		running.Go(func() {
			code, got := s.runSIPp(ctx, 300+i, dir, scenario{file: name, port: s.registrarPort(i), limit: 75 * time.Second})
			list[i] = judge(suite, name, "exit 0", got, code == 0)
		})
	}
	return func() []result { running.Wait(); return list }, s.serve(ctx)
}

// called are the scenarios of a folder that are called, but for those that only a registration or a subscription reaches.
func called(dir string) ([]string, error) {
	all, err := files(dir, "uas*.xml")
	var names []string
	for _, name := range all {
		if !strings.HasPrefix(name, "uas-auth") && !strings.HasPrefix(name, "uas-register") {
			names = append(names, name)
		}
	}
	return names, err
}

func calleesOf(ctx context.Context, s *server, corpora string) ([]result, error) {
	var results []result
	gpl := filepath.Join(corpora, "sip-gpl")
	registrations, err := s.registered(ctx, "pjsip", filepath.Join(gpl, "pjsip-scripts-sipp"))
	if err != nil {
		return nil, err
	}
	first := 0
	for _, of := range []struct{ suite, dir string }{
		{"siphon", filepath.Join(corpora, "sip", "sipp", "siphon-rs")}, {"jambonz", filepath.Join(corpora, "sip", "sipp", "jambonz")},
		{"jambonz", filepath.Join(gpl, "jambonz-sipp-derived")}, {"pjsip", filepath.Join(gpl, "pjsip-scripts-sipp")},
	} {
		names, err := called(of.dir)
		if err != nil {
			return results, err
		}
		more, err := s.callees(ctx, of.suite, of.dir, names, first)
		first += len(names)
		if results = append(results, more...); err != nil {
			return results, err
		}
	}
	return append(results, registrations()...), nil
}
