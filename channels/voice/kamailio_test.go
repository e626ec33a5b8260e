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
	"strings"
	"syscall"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// proxy is a Kamailio between us and a telephone. It stays in the call's way (Record-Route), and says what passes.
type proxy struct {
	at   netip.AddrPort
	said chan string // "BYE from 127.0.0.1:5060"
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
	xlog("L_ERR", "PASSES $rm from $si:$sp\n");
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
	p := &proxy{at: free.LocalAddr().(*net.UDPAddr).AddrPort(), said: make(chan string, 256)}
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
			if _, passes, ok := strings.Cut(lines.Text(), "PASSES "); ok {
				p.said <- strings.TrimSpace(passes)
			} else {
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

// passes waits until the proxy has seen a request of somebody.
func (p *proxy) passes(ctx context.Context, t *testing.T, method string, from netip.AddrPort) {
	t.Helper()
	want := fmt.Sprintf("%s from %s", method, from)
	for waitChan(t, ctx, p.said, want) != want {
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
}
