package db

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockDir makes us the one supervisor of a data directory. The kernel drops the lock when we die, however we die.
func lockDir(ctx context.Context, data string) (*os.File, error) {
	name := filepath.Join(data, "patchbay.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	// A dying process's lock may live on for an instant in a child that it was just forking.
	for try := 0; ; try++ {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if try == 10 || !pause(ctx, nil, 20*time.Millisecond) {
			holder := make([]byte, 20)
			n, _ := f.ReadAt(holder, 0)
			f.Close()
			return nil, fmt.Errorf("another Patchbay (process %s) runs its PostgreSQL in %s: "+
				"stop it, choose another data directory, or let both use one DATABASE_URL", bytes.TrimSpace(holder[:n]), data)
		}
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return f, nil
}

// endOrphan deals with a server that outlived its supervisor. We hold the directory's lock, so no living Patchbay owns
// it. Mostly it is shutting down already, told so by the kernel when the supervisor died.
func (p *Postgres) endOrphan(ctx context.Context) error {
	pid, err := postmasterPID(p.dir)
	if err != nil || pid == 0 {
		return err
	}
	began, signal := time.Now(), syscall.SIGINT
	for told := false; ; told = true {
		left := processesIn(p.dir)
		if len(left) == 0 {
			break
		}
		if !told {
			p.log.Warn("a PostgreSQL of an earlier run is still there; ending it", "pid", pid)
		}
		late := signal == syscall.SIGINT && time.Since(began) > takeover
		if late {
			signal = syscall.SIGQUIT // ends at once; the next start recovers from the log
		}
		// Its own children end when it does, also after a kill -9; only it is told.
		if (!told || late) && slices.Contains(left, pid) {
			syscall.Kill(pid, signal) // an error means that it is gone
		}
		if time.Since(began) > stopPatience {
			return fmt.Errorf("the PostgreSQL of an earlier run (process %d) does not stop", pid)
		}
		if !pause(ctx, nil, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
	// It was killed, and its number may by now be somebody else's (in a container it soon is), whom Postgres would
	// take for a living server. Nobody works in the cluster, so the file is stale.
	if err := os.Remove(filepath.Join(p.dir, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}

// postmasterPID reads the server's own lock file; 0 when there is none.
func postmasterPID(pgDir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(pgDir, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(first)) // half-written: as good as none
	return max(pid, 0), nil
}

// processesIn lists the living processes of a cluster: each of Postgres' processes works in its directory. A number in
// a file would not do, it may belong to anybody by now. A zombie (in some containers nobody reaps) is dead.
func processesIn(pgDir string) []int {
	cluster, err := os.Stat(pgDir)
	if err != nil {
		return nil
	}
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Stat(filepath.Join("/proc", e.Name(), "cwd")) // of other users and of the dead: an error
		if err == nil && os.SameFile(cwd, cluster) && !zombie(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(stat, ')') // "pid (name) state ..."; the name may hold anything
	return i < 0 || i+2 >= len(stat) || stat[i+2] == 'Z' || stat[i+2] == 'X'
}

// maxSocketPath is what fits into sockaddr_un, with its final zero.
const maxSocketPath = 107

// socketDir makes a private directory for the socket: in the data directory, or, where that path is too long, in a short one.
func socketDir(data string, u *account) (string, error) {
	sum := sha256.Sum256([]byte(data))
	short := "patchbay-" + hex.EncodeToString(sum[:6])
	dirs := []string{filepath.Join(data, "run")}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" && u == nil {
		dirs = append(dirs, filepath.Join(runtime, short))
	}
	if u != nil {
		dirs = append(dirs, filepath.Join("/run", short))
	}
	dirs = append(dirs, filepath.Join("/tmp", short))
	var errs []error
	for _, dir := range dirs {
		if len(dir)+len("/.s.PGSQL.5432") > maxSocketPath {
			continue
		}
		err := u.mkdir(dir)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("directory for the database's socket: %w", errors.Join(errs...))
}

// account is whom Postgres runs as when we are root, which it refuses to run as.
type account struct {
	name     string
	uid, gid uint32
}

// accountFor returns nil when we are not root. Else the owner of the cluster, if there is one already, or the user
// postgres, or nobody.
func accountFor(pgDir string) (*account, error) {
	info, err := os.Stat(pgDir)
	owned := err == nil
	var owner *syscall.Stat_t
	if owned {
		owner = info.Sys().(*syscall.Stat_t)
	}
	if me := os.Geteuid(); me != 0 {
		if owned && owner.Uid != uint32(me) {
			return nil, fmt.Errorf("%s belongs to user %d and we are user %d: start as the same user as before", pgDir, owner.Uid, me)
		}
		return nil, nil
	}
	if owned && owner.Uid != 0 {
		return &account{name: "user " + strconv.Itoa(int(owner.Uid)), uid: owner.Uid, gid: owner.Gid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &account{name: "user " + name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody")
}

// credential drops root's groups, too.
func (u *account) credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: []uint32{u.gid}}
}

// mkdir makes a directory that only this account opens. One that is there must be a true directory of that account:
// in /tmp anybody could have put it there.
func (u *account) mkdir(dir string) error {
	uid := uint32(os.Geteuid())
	made := os.Mkdir(dir, 0o700)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return made
	}
	if u != nil {
		uid = u.uid
		if made == nil {
			if err := os.Lchown(dir, int(u.uid), int(u.gid)); err != nil {
				return err
			}
		}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uid {
		return fmt.Errorf("%s is there already and is not the database user's own directory", dir)
	}
	return os.Chmod(dir, 0o700)
}

// canReach says which directory above (and including) data the account cannot pass.
func (u *account) canReach(data string) error {
	if u == nil {
		return nil
	}
	for dir := data; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		st := info.Sys().(*syscall.Stat_t)
		bit := os.FileMode(0o001)
		if st.Uid == u.uid {
			bit = 0o100
		} else if st.Gid == u.gid {
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return fmt.Errorf("PostgreSQL must run as %s, who cannot pass through %s: choose a data directory elsewhere "+
				"(for root, /var/lib/patchbay) or run \"chmod o+x %s\"", u.name, dir, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
