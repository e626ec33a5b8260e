package doctor

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// What of a session description is harmless: formats, directions, ports.
var (
	mediaLine = regexp.MustCompile(`^(audio|video|image|application|text|message) [0-9]{1,5} (RTP/S?AVPF?|UDP/TLS/RTP/SAVPF?|udptl|TCP/MSRP|UDP/DTLS/SCTP)( [0-9]{1,3}| \*| t38| webrtc-datachannel)+$`)
	plainAttr = regexp.MustCompile(`^(sendrecv|sendonly|recvonly|inactive|rtcp-mux|ice-lite|rtcp-rsize|(max)?ptime:[0-9]{1,3}|setup:(active|passive|actpass|holdconn)|mid:[0-9]{1,2})$`)
	rtpmap    = regexp.MustCompile(`^rtpmap:[0-9]{1,3} (?i:PCMU|PCMA|G722|G729|G723|G726-32|GSM|iLBC|opus|speex|telephone-event|CN|AMR|AMR-WB|EVS|red)/[0-9]{4,5}(/[0-9])?$`)
	fmtp      = regexp.MustCompile(`^fmtp:[0-9]{1,3} ([0-9]{1,2}-[0-9]{1,2}(,[0-9]{1,2})*|((useinbandfec|usedtx|stereo|sprop-stereo|cbr|minptime|maxptime|annexb|mode|mode-set|octet-align|maxplaybackrate|maxaveragebitrate)=(yes|no|[0-9]{1,6});? ?)+)$`)
	suite     = regexp.MustCompile(`^[0-9]{1,2} (AES_CM_128_HMAC_SHA1_80|AES_CM_128_HMAC_SHA1_32|AEAD_AES_128_GCM|AEAD_AES_256_GCM|AES_256_CM_HMAC_SHA1_80|AES_256_CM_HMAC_SHA1_32|F8_128_HMAC_SHA1_80) `)
)

func (k *mask) description(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		b.WriteString(k.line(key, value))
		b.WriteString("\r\n")
	}
	return b.String()
}

// line is one line of a description.
func (k *mask) line(key, value string) string {
	f := strings.Fields(value)
	switch {
	case key == "v":
		return "v=0"
	case key == "s":
		return "s=-"
	case key == "t":
		return "t=0 0"
	case key == "o" && len(f) == 6:
		return "o=- " + k.count("session", f[1]) + " " + k.count("version", f[2]) + " IN " + family(f[4]) + " " + k.plainHost(f[5])
	case key == "c" && len(f) == 3:
		host, _, _ := strings.Cut(f[2], "/")
		return "c=IN " + family(f[1]) + " " + k.plainHost(host)
	case key == "m" && mediaLine.MatchString(value):
		return "m=" + value
	case key == "a":
		return "a=" + k.attribute(value, f)
	}
	return "x=(left out)"
}

func family(s string) string {
	if s == "IP6" {
		return "IP6"
	}
	return "IP4"
}

// plainHost is host without brackets round IPv6.
func (k *mask) plainHost(s string) string { return strings.Trim(k.host(s), "[]") }

func (k *mask) attribute(value string, f []string) string {
	name, rest, _ := strings.Cut(value, ":")
	switch {
	case plainAttr.MatchString(value), rtpmap.MatchString(value), fmtp.MatchString(value):
		return value
	case name == "crypto":
		if s := suite.FindString(rest); s != "" {
			return "crypto:" + s + "inline:(left out)"
		}
	case name == "rtcp" && len(f) > 0 && small.MatchString(strings.TrimPrefix(f[0], "rtcp:")):
		if len(f) == 4 {
			return f[0] + " IN " + family(f[2]) + " " + k.plainHost(f[3])
		}
		return f[0]
	case name == "candidate" && len(f) >= 8:
		if _, err := netip.ParseAddr(f[4]); err == nil && small.MatchString(f[5]) && slices.Contains([]string{"host", "srflx", "prflx", "relay"}, f[7]) {
			return "candidate:x 1 " + protocol(f[2]) + " 1 " + k.plainHost(f[4]) + " " + f[5] + " typ " + f[7]
		}
	case slices.Contains([]string{"fingerprint", "ice-ufrag", "ice-pwd", "ssrc", "msid", "label", "group", "tool"}, name):
		return name + ":(left out)"
	}
	return "x-left-out"
}

func protocol(s string) string {
	if strings.EqualFold(s, "tcp") {
		return "tcp"
	}
	return "udp"
}
