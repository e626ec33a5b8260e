package voice

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// proxy is a Kamailio between us and a telephone. It stays in the call's way (Record-Route), and says what passes.
type proxy struct {
	at   netip.AddrPort
	said chan passing

	mu      sync.Mutex               // guards the one below
	answers map[netip.AddrPort][]int // of each side: the Vias that its answers bring back
}

// passing is a request that the proxy sees, with what it says about its way.
type passing struct {
	method       string
	from         netip.AddrPort
	inside       bool // a dialog
	vias, routes int
}

// kamailioConfig: number 100 goes to the first place, everything else to the second. RFC 3261 section 16 in 30 lines.
const kamailioConfig = `#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:%[1]s
mpath="%[2]s"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "dispatcher.so"
loadmodule "xlog.so"
modparam("dispatcher", "list_file", "%[3]s")
request_route {
	xlog("L_ERR", "PASSES $rm $si:$sp $hdrc(via) $hdrc(route) $tt\n");
	if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (has_totag()) {
		if (loose_route()) { t_relay(); exit; }
		if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
		sl_send_reply("404", "Not here");
		exit;
	}
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	t_check_trans();
	record_route();
	if ($rU == "100") ds_select_dst("1", "4"); else ds_select_dst("2", "4");
	t_relay();
}
reply_route {
	xlog("L_ERR", "ANSWERS $rm $si:$sp $hdrc(via) 0 $tt\n");
}
`

func startKamailio(ctx context.Context, t *testing.T, house, phone netip.AddrPort) *proxy {
	t.Helper()
	program := voicetest.Need(t, "/usr/sbin/kamailio") // which is in root's path only
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules")
	if err != nil || len(modules) == 0 {
		t.Fatalf("Kamailio's modules: %v, %v", modules, err)
	}
	dir := t.TempDir()
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{at: free.LocalAddr().(*net.UDPAddr).AddrPort(), said: make(chan passing, 256), answers: make(map[netip.AddrPort][]int)}
	_ = free.Close()
	list := filepath.Join(dir, "places")
	for name, text := range map[string]string{
		list:                            fmt.Sprintf("1 sip:%s\n2 sip:%s\n", house, phone),
		filepath.Join(dir, "proxy.cfg"): fmt.Sprintf(kamailioConfig, p.at, modules[0]+"/", list),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-DD", "-E", "-f", filepath.Join(dir, "proxy.cfg"), "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "16", "-M", "4")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var log strings.Builder
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if !p.hears(lines.Text()) {
				fmt.Fprintln(&log, lines.Text())
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	probe := voicetest.NewPhone(t, "probe", loopback)
	until(t, ctx, "Kamailio answers", func() bool { // it says nothing when it is ready
		probe.SendRaw(p.at, fmt.Appendf(nil, "OPTIONS sip:100@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bKprobe;rport\r\nMax-Forwards: 0\r\n"+
			"From: <sip:probe@%[2]s>;tag=p\r\nTo: <sip:100@%[1]s>\r\nCall-ID: probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", p.at, probe.Addr()))
		return len(p.said) > 0
	})
	return p
}

// hears reads what the proxy says; false: it is something else.
func (p *proxy) hears(line string) bool {
	for _, kind := range []string{"PASSES ", "ANSWERS "} {
		_, said, ok := strings.Cut(line, kind)
		if !ok {
			continue
		}
		var method, from, tag string
		var seen passing
		if n, _ := fmt.Sscan(said, &method, &from, &seen.vias, &seen.routes, &tag); n < 4 {
			return false
		}
		seen.method, seen.from, seen.inside = method, netip.MustParseAddrPort(from), tag != "" && tag != "<null>"
		if kind == "PASSES " {
			p.said <- seen
			return true
		}
		p.mu.Lock()
		p.answers[seen.from] = append(p.answers[seen.from], seen.vias)
		p.mu.Unlock()
		return true
	}
	return false
}

// passes waits until the proxy has seen a request of somebody. Within a dialog it must have come by its Route.
func (p *proxy) passes(ctx context.Context, t *testing.T, method string, from netip.AddrPort) {
	t.Helper()
	for {
		seen := waitChan(t, ctx, p.said, method+" from "+from.String())
		if seen.vias != 1 || seen.inside != (seen.routes > 0) {
			t.Errorf("%s from %s: %d Vias, %d Routes, in a dialog: %v", seen.method, seen.from, seen.vias, seen.routes, seen.inside)
		}
		if seen.method == method && seen.from == from {
			return
		}
	}
}

// both tells that answers of both sides came back with both Vias, theirs and the proxy's.
func (p *proxy) both(t *testing.T, sides ...netip.AddrPort) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, side := range sides {
		if len(p.answers[side]) < 4 || slices.ContainsFunc(p.answers[side], func(n int) bool { return n != 2 }) {
			t.Errorf("Vias in the answers of %s: %v, want 2 in each", side, p.answers[side])
		}
	}
}

// TestKamailio: with a proxy in the way that stays there, calls stand in both directions, are held and taken back, and end
// from both sides; every request within them goes by way of the proxy, with two Vias.
func TestKamailio(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", AutoAnswer: true})
	relay, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice()}) // a port for us, known before Kamailio starts
	if err != nil {
		t.Fatal(err)
	}
	ours := relay.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = relay.Close()
	p := startKamailio(ctx, t, ours, phone.Addr())
	o := newOutsideAt(t, ctx, ours.String(), channels.Trunk{Name: "proxy", Servers: []string{p.at.String()}, NumberFormat: "plain"})
	news := o.agentFrames(7)

	for i, hangup := range []string{"phone", "agent"} {
		id := int64(i + 1)
		phone.Dial(ctx, "sip:"+number+"@"+p.at.String())
		p.passes(ctx, t, "INVITE", phone.Addr())
		o.expect(ctx, channels.CallStarted)
		phone.Press(ctx, "0")
		o.expect(ctx, channels.Wish)
		o.join(ctx, id, 7)
		phone.Command(ctx, "hold", "")
		frame(t, ctx, news, "held by the caller", func(n callNews) bool { return n.CallerHeld })
		phone.Command(ctx, "resume", "")
		frame(t, ctx, news, "back", func(n callNews) bool { return !n.CallerHeld })
		p.passes(ctx, t, "INVITE", phone.Addr())
		if hangup == "phone" {
			phone.Hangup(ctx)
			p.passes(ctx, t, "BYE", phone.Addr())
		} else {
			o.must(ctx, channels.CallSignal{Type: "hangup", CallID: id, AgentID: 7})
			phone.Wait(ctx, "CALL_CLOSED")
			p.passes(ctx, t, "BYE", ours)
		}
		o.expect(ctx, channels.CallEndedIn)
	}

	for _, hangup := range []string{"phone", "agent"} {
		call, refused := o.ask(ctx, "+4940222")
		if refused != nil {
			t.Fatal(refused)
		}
		o.connect(ctx, call, 1)
		phone.Wait(ctx, "CALL_ESTABLISHED")
		p.passes(ctx, t, "ACK", ours)
		if hangup == "phone" {
			phone.Command(ctx, "hold", "")
			p.passes(ctx, t, "INVITE", phone.Addr())
			phone.Hangup(ctx)
			p.passes(ctx, t, "BYE", phone.Addr())
		} else {
			o.must(ctx, channels.CallSignal{Type: "hangup", CallID: call, AgentID: 1})
			phone.Wait(ctx, "CALL_CLOSED")
			p.passes(ctx, t, "BYE", ours)
		}
		o.ended(ctx, call)
	}
	p.both(t, ours, phone.Addr())
}
