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

// relay is the child with n calls in it.
type relay struct {
	cmd  *exec.Cmd
	ways [2]struct {
		pacer  pacer
		mouths []*mouth
		ears   []*ear
	}
	lines []*line
	stop  context.CancelFunc
}

func newRelay(ctx context.Context, n int) (r *relay, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r = &relay{cmd: exec.CommandContext(ctx, self, "relay", strconv.Itoa(n))}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = 5 * time.Second
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	talking, quiet := context.WithCancel(ctx)
	r.stop = quiet
	ports := bufio.NewScanner(out)
	for i := range n {
		if !ports.Scan() {
			r.close()
			return nil, errors.New("relay: no ports")
		}
		if err := r.join(i, strings.Fields(ports.Text())); err != nil {
			r.close()
			return nil, fmt.Errorf("relay: %w", err)
		}
	}
	for k := range r.ways {
		r.ways[k].pacer.quiet.Store(true)
		go r.ways[k].pacer.run(talking)
	}
	return r, nil
}

// join has two telephones talk through a pair of the child's ports.
func (r *relay) join(i int, ports []string) error {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for k, word := range ports {
		port, err := strconv.ParseUint(word, 10, 16)
		if err != nil || k > 1 {
			return fmt.Errorf("port %q", word)
		}
		l, err := newLine(loopback)
		if err != nil {
			return err
		}
		r.lines = append(r.lines, l)
		to := netip.AddrPortFrom(loopback, uint16(port))
		l.remote.Store(&to)
		e := &ear{expects: uint32(2*i + 1 - k)}
		go l.listen(e)
		m := newMouth(uint32(2*i+k), l.speak)
		r.ways[k].mouths, r.ways[1-k].ears = append(r.ways[k].mouths, m), append(r.ways[1-k].ears, e)
		r.ways[k].pacer.add(m)
	}
	return nil
}

// measure lets all of them talk for a while.
func (r *relay) measure(ctx context.Context, phase uint32, span time.Duration) window {
	all := func(quiet bool, phase uint32) {
		for k := range r.ways {
			r.ways[k].pacer.phase.Store(phase)
			r.ways[k].pacer.quiet.Store(quiet)
		}
	}
	all(false, 0)
	wait(ctx, time.Second/2) // both ends become known
	cpu, before := treeCPU(r.cmd.Process.Pid), (&house{}).spent()
	all(false, phase)
	wait(ctx, span)
	all(true, 0)
	used, after := treeCPU(r.cmd.Process.Pid)-cpu, (&house{}).spent()
	took := float64(after.at.Sub(before.at))
	wait(ctx, 300*time.Millisecond)
	return window{
		span:   time.Duration(took),
		share:  100 * float64(used) / took,
		others: 100 * float64(after.machine-before.machine-used-(after.bench-before.bench)) / took,
		ways:   [2]*heardBy{sum(phase, r.ways[0].mouths, r.ways[0].ears), sum(phase, r.ways[1].mouths, r.ways[1].ears)},
	}
}

func (r *relay) close() {
	r.stop()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait()
	for _, l := range r.lines {
		_ = l.conn.Close()
	}
}
