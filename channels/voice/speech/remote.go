package speech

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Remote is a server that speaks OpenAI's audio API: Speaches, LocalAI, Kokoro-FastAPI, vLLM, or OpenAI's own.
type Remote struct {
	Name      string   // for HearConfig.Engine and SayConfig.Engine
	URL       string   // the API's root, "http://localhost:8000/v1"
	Key       string   // bearer token; empty: none
	HearModel string   // of /audio/transcriptions; empty: it does not hear
	SayModel  string   // of /audio/speech; empty: it does not speak
	Voice     string   // its first voice; servers want one
	Languages []string // ISO 639-1; empty: any
	SayRate   int      // of the PCM that it sends; 0: 24000, as OpenAI's
}

func (r Remote) check() error {
	u, err := url.Parse(r.URL)
	switch {
	case r.Name == "":
		return errors.New("speech: a remote engine has no name")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("speech: engine %q has the address %q: like http://localhost:8000/v1 was expected", r.Name, r.URL)
	case r.HearModel == "" && r.SayModel == "":
		return fmt.Errorf("speech: engine %q has neither a model that hears nor one that speaks", r.Name)
	case r.SayRate != 0 && (r.SayRate < Narrow || r.SayRate > 48000):
		return fmt.Errorf("speech: engine %q speaks at %d Hz: 8000 to 48000 were expected", r.Name, r.SayRate)
	}
	return nil
}

type remote struct {
	Remote
	client  *http.Client
	hearing atomic.Int32 // transcriptions under way

	mu   sync.Mutex
	last map[Job]verdict // of the last request of each kind; none yet: not there
}

// verdict is how a request went.
type verdict struct {
	err error
	at  time.Time
}

const (
	defaultSayRate = 24000
	maxAnswer      = 1 << 20         // bytes of a transcription
	stall          = 5 * time.Second // without a byte of a voice's sound
)

func newRemote(r Remote) *remote {
	if r.SayRate == 0 {
		r.SayRate = defaultSayRate
	}
	r.URL = strings.TrimRight(r.URL, "/")
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return &remote{Remote: r, client: &http.Client{Transport: t}, last: map[Job]verdict{}}
}

// does tells whether it has a model for the job.
func (r *remote) does(job Job) bool {
	return job == Hearing && r.HearModel != "" || job == Speaking && r.SayModel != ""
}

// ill tells whether it has just failed.
func (r *remote) ill(job Job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.last[job]
	return v.err != nil && time.Since(v.at) < rest
}

func (r *remote) knows(language string) bool {
	return language == "" || len(r.Languages) == 0 || slices.Contains(r.Languages, language)
}

func (r *remote) describe() []Description {
	var all []Description
	for _, job := range []Job{Hearing, Speaking} {
		d := Description{Engine: r.Name, Job: job, Standing: Ready, Languages: r.Languages, Detail: r.URL}
		if !r.does(job) {
			continue
		}
		if job == Speaking && r.Voice != "" {
			d.Voices = []string{r.Voice}
		}
		r.mu.Lock()
		if err := r.last[job].err; err != nil {
			d.Standing, d.Detail = Broken, err.Error()
		}
		r.mu.Unlock()
		all = append(all, d)
	}
	return all
}

// note keeps how a request went; one that its caller gave up says nothing about the server.
func (r *remote) note(ctx context.Context, job Job, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) || errors.Is(context.Cause(ctx), ErrEngine) {
		r.mu.Lock()
		r.last[job] = verdict{err, time.Now()}
		r.mu.Unlock()
	}
	return err
}

// post sends a request; the answer is 200 or an error with the server's words.
func (r *remote) post(ctx context.Context, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrEngine, r.Name, err)
	}
	req.Header.Set("Content-Type", kind)
	if r.Key != "" {
		req.Header.Set("Authorization", "Bearer "+r.Key)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrEngine, r.Name, err)
	}
	if res.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		res.Body.Close()
		return nil, fmt.Errorf("%w: %s answered %s: %s", ErrEngine, r.Name, res.Status, strings.TrimSpace(string(words)))
	}
	return res, nil
}

// hear turns a piece of speech into text.
func (r *remote) hear(ctx context.Context, cfg HearConfig, pcm []int16) (transcript, error) {
	r.hearing.Add(1)
	defer r.hearing.Add(-1)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	fields := [][2]string{{"model", r.HearModel}, {"response_format", "verbose_json"}, {"timestamp_granularities[]", "word"}}
	if cfg.Language != "" {
		fields = append(fields, [2]string{"language", cfg.Language})
	}
	if cfg.Expect == "digits" {
		fields = append(fields, [2]string{"prompt", "0 1 2 3 4 5 6 7 8 9"})
	}
	for _, f := range fields {
		form.WriteField(f[0], f[1]) // a bytes.Buffer takes everything
	}
	part, err := form.CreateFormFile("file", "speech.wav")
	if err != nil {
		return transcript{}, err
	}
	part.Write(wav(pcm, cfg.Rate))
	form.Close()
	res, err := r.post(ctx, "/audio/transcriptions", form.FormDataContentType(), &body)
	if err != nil {
		return transcript{}, err
	}
	defer res.Body.Close()
	t, err := r.readTranscript(res.Body)
	if !cfg.Foreign || strings.HasPrefix(cfg.Language, t.language) { // most repeat what they were told
		t.language = ""
	}
	return t, err
}

func (r *remote) readTranscript(body io.Reader) (transcript, error) {
	var answer struct {
		Text     *string
		Language string
		Words    []struct {
			Word       string
			Start, End float64
		}
		Segments []struct {
			Logprob *float64 `json:"avg_logprob"`
			Silence float64  `json:"no_speech_prob"`
		}
	}
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return transcript{}, fmt.Errorf("%w: %s: %w", ErrEngine, r.Name, err)
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Text == nil {
		return transcript{}, fmt.Errorf("%w: %s answered no transcription, but %.80q", ErrEngine, r.Name, b)
	}
	t := transcript{text: strings.Join(strings.Fields(*answer.Text), " ")}
	if len(answer.Language) == 2 { // OpenAI's own writes "english", and never another than it was told
		t.language = answer.Language
	}
	for _, w := range answer.Words {
		t.words = append(t.words, Word{Text: strings.TrimSpace(w.Word), From: seconds(w.Start), To: seconds(w.End)})
	}
	for _, s := range answer.Segments {
		if s.Logprob == nil {
			continue
		}
		if c := math.Exp(min(0, *s.Logprob)); t.confidence == 0 || c < t.confidence {
			t.confidence = c
		}
	}
	return t, nil
}

func seconds(s float64) time.Duration {
	if !(s > 0 && s < 3600) { // nor NaN
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// say makes sound of text as it streams in.
func (r *remote) say(ctx context.Context, cfg SayConfig, text string, rate int, put func([]int16) error) error {
	voice := cfg.Voice
	if voice == "" {
		voice = r.Voice
	}
	body, err := json.Marshal(map[string]any{"model": r.SayModel, "input": text, "voice": voice, "response_format": "pcm", "stream_format": "audio"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stall, func() { cancel(fmt.Errorf("%w: %s sent no sound for %s", ErrEngine, r.Name, stall)) })
	defer stalled.Stop()
	res, err := r.post(ctx, "/audio/speech", "application/json", bytes.NewReader(body))
	if err != nil {
		return because(ctx, err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/") || strings.Contains(kind, "json") {
		words, _ := io.ReadAll(io.LimitReader(res.Body, 80))
		return fmt.Errorf("%w: %s answered %s in place of sound: %.80q", ErrEngine, r.Name, kind, words)
	}
	convert, buf := newResampler(r.SayRate, rate), make([]byte, 8192)
	odd, got := 0, 0 // a byte of half a sample left in front of buf; samples
	for {
		n, err := res.Body.Read(buf[odd:])
		stalled.Reset(stall)
		n += odd
		odd = n & 1
		if n-odd > 0 || err == io.EOF {
			pcm := samplesOf(buf[:n-odd])
			got += len(pcm)
			if perr := put(convert.run(nil, pcm, err == io.EOF)); perr != nil {
				return perr
			}
		}
		if odd == 1 {
			buf[0] = buf[n-1]
		}
		switch {
		case err == io.EOF && got == 0:
			return fmt.Errorf("%w: %s sent no sound", ErrEngine, r.Name)
		case err == io.EOF:
			return nil
		case err != nil:
			return because(ctx, fmt.Errorf("%w: %s broke off: %w", ErrEngine, r.Name, err))
		}
	}
}

// because prefers the reason for which we cancelled ourselves.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrEngine) {
		return cause
	}
	return err
}

func samplesOf(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
}

// wav is a RIFF file of mono 16 bit PCM.
func wav(pcm []int16, rate int) []byte {
	size := uint32(2 * len(pcm))
	b := append(make([]byte, 0, 44+size), "RIFF"...)
	le := binary.LittleEndian
	b = le.AppendUint32(b, 36+size)
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(2*rate))
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, size)
	for _, s := range pcm {
		b = le.AppendUint16(b, uint16(s))
	}
	return b
}
