package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// The bare relay: what this machine can do at all with a socket for each leg and no encryption, in a process of its
// own. It is the measure for the house's bridge in the same run.

// runRelay is the child: it opens n pairs of sockets, prints their ports, and passes packets from one to the other.
func runRelay(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("relay: how many calls?")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		var side [2]*net.UDPConn
		for i := range side {
			if side[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
				return err
			}
			_ = side[i].SetReadBuffer(1 << 20)
		}
		var peers [2]peer
		go pass(side[0], side[1], &peers[0], &peers[1])
		go pass(side[1], side[0], &peers[1], &peers[0])
		fmt.Println(side[0].LocalAddr().(*net.UDPAddr).Port, side[1].LocalAddr().(*net.UDPAddr).Port)
	}
	<-ctx.Done()
	return nil
}

// peer is where a side's packets come from: one goroutine learns it, the other uses it.
type peer struct {
	at atomic.Pointer[netip.AddrPort]
}

func pass(from, to *net.UDPConn, source, target *peer) {
	buf := make([]byte, 1500)
	for {
		n, addr, err := from.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if old := source.at.Load(); old == nil || *old != addr {
			source.at.Store(&addr)
		}
		if out := target.at.Load(); out != nil {
			_, _ = to.WriteToUDPAddrPort(buf[:n], *out)
		}
	}
}

// relay measures n calls through the child; share is what that took, in per cent of a core.
func (b *bench) relay(ctx context.Context, n int, span time.Duration) (share float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "relay", strconv.Itoa(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	talking, quiet := context.WithCancel(ctx)
	defer quiet()
	ports := bufio.NewScanner(out)
	var ways [2]struct {
		pacer  pacer
		mouths []*mouth
		ears   []*ear
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for i := range n {
		if !ports.Scan() {
			return 0, errors.New("relay: no ports")
		}
		for k, word := range strings.Fields(ports.Text()) {
			port, err := strconv.ParseUint(word, 10, 16)
			if err != nil || k > 1 {
				return 0, fmt.Errorf("relay: port %q", word)
			}
			l, err := newLine(loopback)
			if err != nil {
				return 0, err
			}
			defer l.conn.Close()
			to := netip.AddrPortFrom(loopback, uint16(port))
			l.remote.Store(&to)
			e := &ear{expects: uint32(2*i + 1 - k)}
			go l.listen(e)
			m := &mouth{name: uint32(2*i + k), send: l.speak}
			ways[k].mouths, ways[1-k].ears = append(ways[k].mouths, m), append(ways[1-k].ears, e)
			ways[k].pacer.add(m)
		}
	}
	go ways[0].pacer.run(talking)
	go ways[1].pacer.run(talking)
	wait(ctx, time.Second)
	cpu, began := treeCPU(cmd.Process.Pid), time.Now()
	for k := range ways {
		ways[k].pacer.phase.Store(1)
	}
	wait(ctx, span)
	for k := range ways {
		ways[k].pacer.phase.Store(0)
	}
	used, took := treeCPU(cmd.Process.Pid)-cpu, time.Since(began)
	wait(ctx, 300*time.Millisecond)
	for k, name := range []string{"there", "back"} {
		h := sum(1, ways[k].mouths, ways[k].ears)
		b.table.row(fmt.Sprintf("bare UDP relay, %d calls, %s", n, name), "loss %.3f %% (%d of %d)   delay %s", h.loss(), h.sent-h.heard, h.sent, &h.delay)
	}
	return 100 * float64(used) / float64(took), nil
}
