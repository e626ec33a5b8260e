package webleg

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

// chromiumPage is the smallest softphone: it offers, plays and records what it hears, and presses a key when told.
const chromiumPage = `<!doctype html><audio id=a autoplay></audio><script>
const post = (path, body) => fetch(path, {method: 'POST', body})
// The track itself, not an AudioContext, and each 10 ms with its time: on a busy machine both drop sound, but here the
// rest stays in its place.
async function listen(track) {
  const frames = new MediaStreamTrackProcessor({track}).readable.getReader()
  for (let chunks = []; ;) {
    const {value, done} = await frames.read()
    if (done) return
    const pcm = new Float32Array(value.numberOfFrames)
    value.copyTo(pcm, {planeIndex: 0, format: 'f32-planar'})
    chunks.push(new Float64Array([value.timestamp / 1e6, value.sampleRate, pcm.length]), pcm)
    value.close()
    if (chunks.length == 100) { post('/heard', new Blob(chunks)); chunks = [] }
  }
}
async function main() {
  const mic = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false}})
  const pc = new RTCPeerConnection()
  const sender = pc.addTrack(mic.getTracks()[0], mic)
  pc.ontrack = e => {
    a.srcObject = new MediaStream([e.track])
    listen(e.track).catch(e => post('/failed', String(e)))
  }
  pc.onconnectionstatechange = () => post('/state', pc.connectionState)
  await pc.setLocalDescription()
  await new Promise(done => { pc.onicegatheringstatechange = () => pc.iceGatheringState == 'complete' && done() })
  const answer = await (await post('/offer', pc.localDescription.sdp)).text()
  await pc.setRemoteDescription({type: 'answer', sdp: answer})
  await fetch('/press')
  for (const r of (await pc.getStats()).values()) if (r.type == 'inbound-rtp') await post('/stats', JSON.stringify(r))
  sender.dtmf.insertDTMF('5', 100)
}
main().catch(e => post('/failed', String(e)))
</script>`

// TestBrowserLeg bridges a phone with G.711 to a real browser: one that speaks the same, and one with Opus, whose keys run by
// another clock (RFC 4733 section 2.1).
// It runs alone, by deploy/browser-test.sh: beside other suites on two cores Chromium conceals sound that was never lost.
func TestBrowserLeg(t *testing.T) {
	if os.Getenv("PATCHBAY_TEST_BROWSER") == "" {
		t.Skip("SKIP: browser tests run by deploy/browser-test.sh")
	}
	t.Run("PCMU", func(t *testing.T) { browserLeg(t, media.PCMU) })
	t.Run("opus", func(t *testing.T) {
		if !media.HasOpus() {
			t.Skip("SKIPPED: libopus is not installed")
		}
		browserLeg(t, media.Opus)
	})
}

func browserLeg(t *testing.T, like media.Codec) {
	program := voicetest.Need(t, "chromium")
	w, ctx := webRoom(t), testCtx(t)
	phone, leg := telephone(t, w.pacer)

	legs, failed := make(chan *Leg, 1), make(chan string, 4)
	press := make(chan struct{})
	var mu sync.Mutex
	var heard chromiumEars
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, chromiumPage)
	})
	mux.HandleFunc("POST /offer", func(rw http.ResponseWriter, r *http.Request) {
		offer, _ := io.ReadAll(r.Body)
		l, answer, err := w.Answer(ctx, string(offer), like)
		if err != nil {
			failed <- err.Error() + "\n" + string(offer)
			return
		}
		legs <- l
		_, _ = io.WriteString(rw, answer)
	})
	mux.HandleFunc("POST /heard", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		heard.add(b)
	})
	mux.HandleFunc("POST /state", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /press", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-press:
		case <-r.Context().Done():
		}
	})
	stats := make(chan string, 1)
	mux.HandleFunc("POST /stats", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		stats <- string(b)
	})
	mux.HandleFunc("POST /failed", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		failed <- string(b)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	const length = 12 * time.Second
	caller, clerk, nobody := voicetest.Speech(1, length, 8000), voicetest.Speech(2, 30*time.Second, 8000), voicetest.Speech(3, length, 8000)
	dir := t.TempDir()
	voicetest.WriteWAV(t, filepath.Join(dir, "mic.wav"), voicetest.Speech(2, 30*time.Second, 48000), 48000)
	stop := startChromium(t, program, dir, server.URL)

	var agent *Leg
	select {
	case agent = <-legs:
	case why := <-failed:
		t.Fatal(why)
	case <-ctx.Done():
		t.Fatal("no offer")
	}
	t.Cleanup(func() { _ = agent.Close() })
	nextEvent(t, ctx, agent, Connected)
	if f := agent.Format(); f.Codec != like || f.EventClock != like.ClockRate() {
		t.Errorf("the browser speaks %+v, want %s with keys by its clock", f, like.Name())
	}
	bridge(leg.Leg, agent.Leg)
	phone.Play(ctx, voicetest.ULaw(caller))
	close(press)
	select {
	case k := <-phone.Keys():
		if k != '5' {
			t.Errorf("key %q", k)
		}
	case why := <-failed:
		t.Fatal(why)
	case <-ctx.Done():
		t.Fatal("no key")
	}
	voicetest.Check(t, "caller", voicetest.FromULaw(phone.Heard()), clerk, caller, nobody)
	mu.Lock()
	ears := append([]int16(nil), heard.samples...)
	mu.Unlock()
	if like == media.PCMU { // what a browser hears by Opus is the whole house's test (TestBrowserWebCall)
		voicetest.CheckPlayed(t, "agent", ears, caller, clerk, nobody)
	}
	t.Logf("browser leg: %+v", agent.Stats())
	t.Logf("Chromium: %s", <-stats)
	stop() // no goodbye
	nextEvent(t, ctx, agent, Disconnected)
}

// chromiumEars places what the page has heard by its own clock, at 8 kHz.
type chromiumEars struct {
	samples []int16
	start   float64
}

// add takes frames of: time in seconds, rate, number of samples (float64 each), samples (float32).
func (e *chromiumEars) add(b []byte) {
	number := func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])) }
	for len(b) >= 24 {
		at, rate, n := number(0), int(number(1)), int(number(2))
		if e.samples == nil {
			e.start = at
		}
		pcm, place := b[24:24+4*n], int((at-e.start)*voicetest.Rate)
		b = b[24+4*n:]
		step := max(rate/voicetest.Rate, 1) // every sixth sample has the same envelope
		for i := 0; i < n && place >= 0 && place < 120*voicetest.Rate; i, place = i+step, place+1 {
			for len(e.samples) <= place {
				e.samples = append(e.samples, 0)
			}
			e.samples[place] = int16(32767 * math.Float32frombits(binary.LittleEndian.Uint32(pcm[4*i:])))
		}
	}
}

// startChromium runs a headless Chromium on the page until stop, which kills it.
func startChromium(t *testing.T, program, dir, url string) (stop func()) {
	t.Helper()
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--use-file-for-fake-audio-capture="+filepath.Join(dir, "mic.wav"), "--allow-loopback-in-peer-connection",
		"--disable-features=WebRtcHideLocalIpsWithMdns", url)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("chromium %s:\n%s", strconv.Itoa(cmd.Process.Pid), out.String())
		}
	})
	t.Cleanup(stop)
	return stop
}
