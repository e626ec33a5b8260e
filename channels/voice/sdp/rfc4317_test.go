package sdp

import (
	"slices"
	"strings"
	"testing"
)

// TestRFC4317 answers the offers of the RFC's examples that have sound, as somebody who speaks what the example's answer
// chooses; names of hosts are addresses here, and codecs that we do not have are what they are: unknown. Want is what
// the audio and video lines of our answer must be.
func TestRFC4317(t *testing.T) {
	events := "a=rtpmap:97 telephone-event/8000"
	for name, c := range map[string]struct {
		codecs []string
		offer  []string
		want   []string
		dir    string
	}{
		"2.1 audio and video": {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0 8 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:97 iLBC/8000",
			"m=video 51372 RTP/AVP 31 32", "a=rtpmap:31 H261/90000", "a=rtpmap:32 MPV/90000"}, []string{"m=audio 7000 RTP/AVP 0", "m=video 0 RTP/AVP 31 32"}, SendRecv},
		"2.2 audio, two codecs":         {[]string{PCMU, PCMA}, []string{"m=audio 51372 RTP/AVP 0 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:97 iLBC/8000"}, []string{"m=audio 7000 RTP/AVP 0"}, SendRecv},
		"2.3 second offer, other codec": {[]string{PCMA}, []string{"m=audio 49170 RTP/AVP 8", "a=rtpmap:8 PCMA/8000"}, []string{"m=audio 7000 RTP/AVP 8"}, SendRecv},
		"2.4 keys of their own m-line": {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:97 iLBC/8000",
			"m=audio 49172 RTP/AVP 98", "a=rtpmap:98 telephone-event/8000", "a=sendonly"}, []string{"m=audio 7000 RTP/AVP 0", "m=audio 0 RTP/AVP 98"}, SendRecv},
		"3.1 hold":            {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0 97", events, "a=sendonly"}, []string{"m=audio 7000 RTP/AVP 0 97"}, RecvOnly},
		"3.1 off hold":        {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0 97", events}, []string{"m=audio 7000 RTP/AVP 0 97"}, SendRecv},
		"3.2 hold both sides": {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0 97", events, "a=inactive"}, []string{"m=audio 7000 RTP/AVP 0 97"}, Inactive},
		"4.1 a second stream is added": {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0", "m=video 49172 RTP/AVP 31", "a=rtpmap:31 H261/90000"},
			[]string{"m=audio 7000 RTP/AVP 0", "m=video 0 RTP/AVP 31"}, SendRecv},
		"4.3 a stream is taken away": {[]string{PCMU}, []string{"m=audio 49170 RTP/AVP 0", "m=video 0 RTP/AVP 31"}, []string{"m=audio 7000 RTP/AVP 0", "m=video 0 RTP/AVP 31"}, SendRecv},
	} {
		body, terms, err := NewLocal(here).Answer(parsed(t, lines(c.offer...)), Prefs{Codecs: c.codecs})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := slices.DeleteFunc(after(body), func(l string) bool { return !strings.HasPrefix(l, "m=") })
		if !slices.Equal(got, c.want) || terms.Dir != c.dir {
			t.Errorf("%s: %s %s, want %s %s", name, got, terms.Dir, c.want, c.dir)
		}
	}
}
