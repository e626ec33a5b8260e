package main

import (
	"strings"
	"testing"
)

// TestPhoneWithRelay: an agent's phone is told how to reach us through a closed network, with credentials of its own.
func TestPhoneWithRelay(t *testing.T) {
	h := open(t, "PATCHBAY_TURN_LISTEN=127.0.0.1:0")
	a := h.agent()
	var phone struct {
		ICEServers []struct {
			URLs                 []string
			Username, Credential string
		} `json:"ice_servers"`
	}
	a.call("GET", "/api/phone", nil, &phone)
	if len(phone.ICEServers) != 1 {
		t.Fatalf("%+v", phone)
	}
	s := phone.ICEServers[0]
	if len(s.URLs) != 2 || !strings.HasPrefix(s.URLs[0], "turn:127.0.0.1:") || !strings.HasSuffix(s.URLs[0], "?transport=udp") || !strings.HasSuffix(s.URLs[1], "?transport=tcp") {
		t.Errorf("%v", s.URLs)
	}
	if !strings.HasSuffix(s.Username, ":agent-"+itoa(a.id)) || s.Credential == "" {
		t.Errorf("%+v", s)
	}
}
