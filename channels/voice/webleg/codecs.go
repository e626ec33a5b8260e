package webleg

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
)

// A browser takes the codec that is first in our answer, and that is the one its other side in the call speaks: packets
// are passed on as they are, and no sound is coded twice. So a leg beside a telephone with G.711 gets G.711, though any
// browser would rather have Opus.

const mimeEvent = "audio/telephone-event"

// codec makes a codec with the number that browsers use themselves; an answer takes the offer's.
func codec(payloadType webrtc.PayloadType, mime string, clock uint32) webrtc.RTPCodecParameters {
	c := webrtc.RTPCodecParameters{PayloadType: payloadType, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clock}}
	switch mime {
	case webrtc.MimeTypeOpus: // two channels always (RFC 7587 section 7); a lost packet comes with the next one
		c.Channels, c.SDPFmtpLine = 2, "minptime=10;useinbandfec=1"
	case webrtc.MimeTypePCMU, webrtc.MimeTypePCMA, webrtc.MimeTypeG722:
		c.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}}
	}
	return c
}

var (
	pcmu      = codec(0, webrtc.MimeTypePCMU, media.Rate)
	pcma      = codec(8, webrtc.MimeTypePCMA, media.Rate)
	g722      = codec(9, webrtc.MimeTypeG722, media.Rate) // its clock, not its rate
	opus      = codec(111, webrtc.MimeTypeOpus, 48000)
	events    = codec(126, mimeEvent, media.Rate)
	events48k = codec(110, mimeEvent, 48000) // beside Opus
)

func registerCodecs(engine *webrtc.MediaEngine) error {
	all := []webrtc.RTPCodecParameters{pcmu, pcma, g722, events}
	if media.HasOpus() {
		all = append(all, opus, events48k)
	}
	for _, c := range all {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return fmt.Errorf("%s: %w", c.MimeType, err)
		}
	}
	return nil
}

// ordered are the codecs of an offer in the order of our answer to it, for a leg whose other side speaks like that. G.711
// is always among them: every browser has it (RFC 7874 section 3). Keys have one clock, the codec's if they can: Chromium
// would press them by the slower of two (seen with 156).
func ordered(offered []webrtc.RTPCodecParameters, like media.Codec) []webrtc.RTPCodecParameters {
	order := []webrtc.RTPCodecParameters{pcmu, pcma, events}
	switch like {
	case media.PCMA:
		order = []webrtc.RTPCodecParameters{pcma, pcmu, events}
	case media.G722:
		order = []webrtc.RTPCodecParameters{g722, pcmu, pcma, events}
	case media.Opus:
		order = []webrtc.RTPCodecParameters{opus, pcmu, pcma, events48k, events}
	}
	var ours []webrtc.RTPCodecParameters
	keys := false
	for _, want := range order {
		for _, c := range offered {
			isKeys := strings.EqualFold(c.MimeType, mimeEvent)
			if !strings.EqualFold(c.MimeType, want.MimeType) || c.ClockRate != want.ClockRate || keys && isKeys {
				continue
			}
			ours, keys = append(ours, c), keys || isKeys
		}
	}
	return ours
}

// formatOf reads what was negotiated: the first codec, and keys. at is the codec's place in the list.
func formatOf(list []webrtc.RTPCodecParameters) (f media.Format, at int, err error) {
	at = slices.IndexFunc(list, func(p webrtc.RTPCodecParameters) bool {
		c, ok := media.ParseCodec(strings.TrimPrefix(p.MimeType, "audio/"))
		if ok {
			f.Codec, f.PayloadType = c, uint8(p.PayloadType)
		}
		return ok
	})
	if at < 0 {
		return f, at, webrtc.ErrUnsupportedCodec
	}
	for _, p := range list {
		if strings.EqualFold(p.MimeType, mimeEvent) {
			f.Events, f.EventClock = uint8(p.PayloadType), int(p.ClockRate)
		}
	}
	return f, at, nil
}
