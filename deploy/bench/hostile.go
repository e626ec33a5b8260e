package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	hostileRate  = 500 // messages a second
	hostileHosts = 100 // addresses they come from
	goodRate     = 5   // honest calls a second beside it
	goodCalls    = 20  // that are talking all the while
)

// hostile: the address is known to those who look for open telephones. Garbage, floods, scanners and strangers' sound come
// from many addresses, and Debian's sipvicious has its three tools at it, while good calls go on and new ones come in.
func (b *bench) hostile(ctx context.Context) error {
	if b.sip == "" || !b.loopback() {
		return fmt.Errorf("%w: the attack needs a telephone line on this machine", errSkipped)
	}
	span := quickly(b, 20*time.Second, 6*time.Second)
	b.table.section(fmt.Sprintf("%d hostile messages a second from %d addresses for %s, beside good calls", hostileRate, hostileHosts, span))
	agents, err := b.agents(ctx, goodCalls, 1)
	if err != nil {
		return err
	}
	f, err := b.floor(ctx)
	if err != nil {
		return err
	}
	defer f.close(context.WithoutCancel(ctx))
	if err := f.grow(ctx, goodCalls, agents); err != nil {
		return err
	}
	attack, err := newAttack(f)
	if err != nil {
		return err
	}
	defer attack.close()
	limit, enough := context.WithTimeout(ctx, span)
	defer enough()
	var all sync.WaitGroup
	var tools []string
	all.Go(func() { attack.run(limit) })
	all.Go(func() { tools = b.sipvicious(ctx) })
	good := &goodWork{b: b, t: f.trunk}
	all.Go(func() { good.run(limit, ctx) })
	w, wrong := f.measure(ctx, 1, span)
	all.Wait()
	b.table.row("hostile messages sent, answers that they got", "%d, %d (bytes: %d, %d)", attack.sent.Load(), attack.answers.Load(), attack.bytesOut.Load(), attack.bytesIn.Load())
	b.table.windows(fmt.Sprintf("%d good calls", goodCalls), []string{"telephone -> browser", "browser -> telephone"}, []window{w})
	b.table.row("new good calls meanwhile: whole, failed; INVITE due -> 200", "%d, %d; %s", good.whole.Load(), good.failed.Load(), &good.answered)
	for _, line := range tools {
		b.table.row("sipvicious", "%s", line)
		if !strings.HasSuffix(line, nothingLearned) {
			wrong = errors.Join(wrong, errors.New(line))
		}
	}
	if n := good.failed.Load(); n > 0 {
		wrong = errors.Join(wrong, fmt.Errorf("%d good calls failed, the first: %w", n, *good.first.Load()))
	}
	if in, out := attack.bytesIn.Load(), attack.bytesOut.Load(); in > out {
		wrong = errors.Join(wrong, fmt.Errorf("strangers got more (%d bytes) than they sent (%d)", in, out))
	}
	f.before += int(good.whole.Load())
	return errors.Join(wrong, f.close(ctx))
}

// goodWork are calls that come in beside the attack.
type goodWork struct {
	b             *bench
	t             *trunk
	answered      times
	whole, failed atomic.Int64
	first         atomic.Pointer[error]
}

func (g *goodWork) run(until, ctx context.Context) {
	ear, err := net.ListenUDP("udp4", &net.UDPAddr{IP: g.t.addr().Addr().AsSlice()})
	if err != nil {
		g.failed.Add(1)
		g.first.CompareAndSwap(nil, &err)
		return
	}
	defer ear.Close()
	var open sync.WaitGroup
	defer open.Wait()
	for ; until.Err() == nil; wait(until, time.Second/goodRate) {
		p := g.t.phone(g.b.number(), ear.LocalAddr().(*net.UDPAddr).AddrPort())
		open.Go(func() {
			limit, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			began := time.Now()
			err := p.dial(limit)
			if err == nil {
				g.answered.add(time.Since(began))
				err = p.hangUp(limit)
			}
			if err != nil {
				g.failed.Add(1)
				g.first.CompareAndSwap(nil, &err)
				return
			}
			g.whole.Add(1)
		})
	}
}

// attack is many addresses of this machine with bad intentions.
type attack struct {
	f                                *floor
	hosts                            []*net.UDPConn
	sent, answers, bytesOut, bytesIn atomic.Int64
}

func newAttack(f *floor) (*attack, error) {
	a := &attack{f: f}
	for i := range hostileHosts {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 66, byte(i%10), byte(1+i/10))})
		if err != nil {
			a.close()
			return nil, fmt.Errorf("attacker's address: %w", err)
		}
		a.hosts = append(a.hosts, conn)
		go func() {
			buf := make([]byte, 9000)
			for {
				n, _, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				a.answers.Add(1)
				a.bytesIn.Add(int64(n))
			}
		}()
	}
	return a, nil
}

func (a *attack) close() {
	for _, c := range a.hosts {
		_ = c.Close()
	}
}

func (a *attack) run(ctx context.Context) {
	began := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		if d := time.Until(began.Add(time.Duration(n) * time.Second / hostileRate)); d > 0 {
			wait(ctx, d)
		}
		conn, to := a.hosts[n*7%len(a.hosts)], a.f.trunk.server
		if n%5 == 0 { // sound from a stranger, into a running call
			if at := a.f.lines[n/5%len(a.f.lines)].remote.Load(); at != nil {
				to = *at
			}
		}
		b := hostileMessage(n, conn.LocalAddr().String(), to.String())
		if _, err := conn.WriteToUDPAddrPort(b, to); err == nil {
			a.sent.Add(1)
			a.bytesOut.Add(int64(len(b)))
		}
	}
}

// hostileMessage is the n-th: sound, and four kinds of SIP.
func hostileMessage(n int, from, to string) []byte {
	request := func(method, user, agent string) string {
		return strings.Join([]string{method + " sip:" + user + "@" + to + " SIP/2.0", "Via: SIP/2.0/UDP " + from + ";branch=z9hG4bK" + rand.Text() + ";rport",
			"Max-Forwards: 70", "From: <sip:" + user + "@" + from + ">;tag=" + rand.Text(), "To: <sip:" + user + "@" + to + ">", "Call-ID: " + rand.Text(),
			"CSeq: 1 " + method, "Contact: <sip:" + user + "@" + from + ">", "User-Agent: " + agent, "Content-Length: 0", "", ""}, "\r\n")
	}
	switch kind := n / 5 % 5; {
	case n%5 == 0:
		packet := make([]byte, 12+frameBytes)
		_, _ = rand.Read(packet)
		packet[0], packet[1] = 0x80, 0
		return packet
	case kind == 0:
		garbage := make([]byte, 50+n%1200)
		_, _ = rand.Read(garbage)
		return garbage
	case kind == 1:
		return []byte(request("OPTIONS", "100", "friendly-scanner"))
	case kind == 2:
		return []byte(request("REGISTER", fmt.Sprint(100+n%900), "telephone"))
	case kind == 3:
		return []byte(request("INVITE", fmt.Sprintf("00%d", 4900000000+n), "telephone"))
	default:
		whole := request("INVITE", "100", "telephone")
		return []byte(whole[:n%len(whole)])
	}
}

const nothingLearned = "learned nothing and is shut out"

// sipvicious runs its tools, and asks afterwards from where they came whether anybody answers. Only svmap takes an address
// of its own.
func (b *bench) sipvicious(ctx context.Context) (lines []string) {
	_, host, _ := strings.Cut(b.sip, "@")
	ip, port, err := net.SplitHostPort(host)
	if err != nil {
		return []string{err.Error()}
	}
	work, err := os.MkdirTemp("", "sipvicious")
	if err != nil {
		return []string{err.Error()}
	}
	defer os.RemoveAll(work)
	const own = "127.66.100.1"
	for _, tool := range [][]string{{"svmap", "-b", own}, {"svwar", "-e", "90-150"}, {"svcrack", "-u", "100", "-r", "1-60"}} {
		path, err := exec.LookPath(tool[0])
		if err != nil {
			b.table.note("no %s here (Debian: sipvicious)", tool[0])
			continue
		}
		from := "127.0.0.1"
		if tool[0] == "svmap" {
			from = own
		}
		limit, cancel := context.WithTimeout(ctx, 8*time.Second) // they do not end when nobody answers
		cmd := exec.CommandContext(limit, path, append(tool[1:], "-p", port, ip)...)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "HOME="+work)
		out, _ := cmd.CombinedOutput() // killed, as a rule
		cancel()
		verdict := nothingLearned
		for _, found := range []string{ip + ":", "reqauth", "noauth", "| 100", "password"} {
			if strings.Contains(string(out), found) {
				verdict = "learned: " + strings.Join(strings.Fields(string(out)), " ")
			}
		}
		if answered(from, host) {
			verdict = "is not banned"
		}
		lines = append(lines, tool[0]+" "+verdict)
	}
	return lines
}

// answered tells whether a well-made REGISTER from an address gets any answer.
func answered(from, server string) bool {
	conn, err := net.Dial("udp4", server)
	if d := (net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}); err == nil {
		_ = conn.Close()
		conn, err = d.Dial("udp4", server)
	}
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	at := conn.LocalAddr().String()
	_, _ = fmt.Fprintf(conn, "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@%s>;tag=1\r\nTo: <sip:a@%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@%s>\r\nUser-Agent: a telephone with a name that leaves room for the whole of an honest answer to it, and some more room\r\n"+
		"X-Room: %s\r\nContent-Length: 0\r\n\r\n", server, at, rand.Text(), server, server, rand.Text(), at, strings.Repeat("x", 400))
	n, err := conn.Read(make([]byte, 1500))
	return err == nil && n > 0
}
