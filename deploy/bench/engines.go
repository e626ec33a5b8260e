package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// serveSpeech runs engines that speak OpenAI's audio API in fixed times, until ctx ends.
func serveSpeech(ctx context.Context) (root string, err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audio/transcriptions", func(w http.ResponseWriter, r *http.Request) {
		text := ""
		if part, _, err := r.FormFile("file"); err == nil {
			if wav, err := io.ReadAll(part); err == nil && asked(wav) {
				text = heardText
			}
		}
		wait(r.Context(), earTime)
		_ = json.NewEncoder(w).Encode(map[string]any{"text": text})
	})
	mux.HandleFunc("POST /v1/audio/speech", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Input string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		tone := voiceTone
		if strings.Contains(strings.ToLower(in.Input), "moment") {
			tone = fillerTone
		}
		sound := make([]byte, 2*int(letterTime.Seconds()*voiceRate*float64(len(in.Input))))
		for i := 0; i+1 < len(sound); i += 2 {
			v := 8000 * math.Sin(2*math.Pi*float64(tone)*float64(i/2)/voiceRate)
			binary.LittleEndian.PutUint16(sound[i:], uint16(int16(v)))
		}
		wait(r.Context(), voiceTime)
		_, _ = w.Write(sound)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("scripted engines: %w", err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(l) }()
	return "http://" + l.Addr().String() + "/v1", nil
}

// realEngines: the server's own hear and speak, not scripted ones.
func realEngines() bool { return os.Getenv("MODELS") != "" }

// enginesReady waits until the server's own engines are.
func (b *bench) enginesReady(ctx context.Context) error {
	if !realEngines() {
		return nil
	}
	for range 120 {
		var line struct {
			Engines []struct {
				Hears, Speaks bool
				Trouble       string
			}
		}
		if err := b.desk[0].call(ctx, "GET", "/api/line/settings", nil, &line); err != nil {
			return fmt.Errorf("engines: %w", err)
		}
		if len(line.Engines) == 1 && line.Engines[0].Hears && line.Engines[0].Speaks && line.Engines[0].Trouble == "" {
			return nil
		}
		wait(ctx, 500*time.Millisecond)
	}
	return fmt.Errorf("the engines in MODELS=%s do not become ready: bash deploy/models.sh speech prints the folder", os.Getenv("MODELS"))
}

// engines are the server's settings for this part.
func (b *bench) engines(ctx context.Context) error {
	if models := os.Getenv("MODELS"); models != "" {
		b.env = append(b.env, "PATCHBAY_SPEECH_MODELS="+models)
		return nil
	}
	root, err := serveSpeech(ctx)
	if err != nil {
		return err
	}
	b.env = append(b.env, "PATCHBAY_SPEECH_REMOTE_URL="+root, "PATCHBAY_SPEECH_REMOTE_HEAR_MODEL=ear", "PATCHBAY_SPEECH_REMOTE_SAY_MODEL=mouth",
		"PATCHBAY_SPEECH_REMOTE_VOICE=bench", fmt.Sprintf("PATCHBAY_SPEECH_REMOTE_RATE=%d", voiceRate))
	return nil
}

// asked tells whether the question is in a WAV of 8 kHz: the scripted recogniser makes words of nothing else, as noise has
// none. What it looks at is the loudness over time, which noise in the line does not change much.
func asked(wav []byte) bool {
	const header = 44
	if len(wav) < header {
		return false
	}
	pcm := make([]int16, (len(wav)-header)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(wav[header+2*i:]))
	}
	heard, said := contour(pcm), contour(decoded(question))
	for from := -len(said) / 4; from+len(said)*3/4 <= len(heard); from++ { // its beginning may be lost, and its end
		begin, end := max(0, from), min(len(heard), from+len(said))
		if end-begin >= len(said)/2 && likeness(heard[begin:end], said[begin-from:end-from]) > 0.8 {
			return true
		}
	}
	return false
}

// contour is how loud sound is, packet by packet.
func contour(pcm []int16) []float64 {
	all := make([]float64, 0, len(pcm)/frameBytes)
	for ; len(pcm) >= frameBytes; pcm = pcm[frameBytes:] {
		all = append(all, rms(pcm[:frameBytes]))
	}
	return all
}

// likeness is the correlation of two contours: 1 is the same, 0 nothing of the kind.
func likeness(a, b []float64) float64 {
	var ma, mb float64
	for i := range a {
		ma, mb = ma+a[i]/float64(len(a)), mb+b[i]/float64(len(a))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

// decoded is mu-law as samples.
func decoded(ulaw []byte) []int16 {
	pcm := make([]int16, len(ulaw))
	for i, u := range ulaw {
		pcm[i] = int16(linear(u))
	}
	return pcm
}
