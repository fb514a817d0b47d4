package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"registryfs/digest"
)

// crashEnv holds the crashJob of a process that works on a store, and dies.
const crashEnv = "STORAGE_TEST_CRASH"

// crashPatience bounds what a hang could otherwise make endless.
const crashPatience = 2 * time.Minute

// crashJob says what such a process does.
type crashJob struct {
	Dir     string        // of the store
	Op      string        // name of the operation
	Index   digest.Digest // its index
	Done    int           // steps that others have made
	Again   bool          // others have begun
	Upload  string        // what they knew
	At      int           // die after this system call; 0: when all is done
	Dropped string        // kind of sync that is not made; see syncKinds
	// Power says that all there is on the file system goes with the process
	// but what it has on disk.
	Power bool
}

// crashReport is what it says before it dies, and with each step. It goes
// through a pipe, which no power cut reaches.
type crashReport struct {
	Done   int    // steps that have been acknowledged
	Upload string // what it knows
	Call   string // the system call after which it dies; empty: none
}

// crash is the process that dies. It returns only on a failure.
func crash(text string) int {
	if err := work(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func work(text string) error {
	var job crashJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	ops := operations()
	i := slices.IndexFunc(ops, func(op *operation) bool { return op.name == job.Op })
	if i == -1 {
		return fmt.Errorf("there is no operation %q", job.Op)
	}
	op := ops[i]
	op.index = job.Index
	root, err := os.Open(job.Dir)
	if err != nil {
		return err
	}
	w, made, done := &world{upload: job.Upload}, 0, job.Done
	report := func(call string) {
		if err := json.NewEncoder(os.Stdout).Encode(crashReport{done, w.upload, call}); err != nil {
			panic(err)
		}
	}
	die := func(call string) error {
		report(call)
		if job.Power {
			if err := cutPower(root); err != nil {
				return err
			}
		}
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	kinds := syncKindOf{}
	sys := &hooked{durable: true}
	sys.hook = func(c *sysCall, do func() error) error {
		if kind := kinds.of(c); kind == "" || kind != job.Dropped {
			if err := do(); err != nil {
				return err
			}
			kinds.made(c)
		}
		if made++; made == job.At {
			return die(c.String())
		}
		return nil
	}
	entered, err := op.enter(context.Background(), job.Dir, sys)
	if err != nil {
		return err
	}
	entered.upload, entered.again = w.upload, job.Again
	// What another process removed, and died before it acknowledged that, may
	// come back for as long as nobody syncs it.
	entered.passed = func() { err = errors.Join(err, unix.Syncfs(int(root.Fd()))) }
	w = entered
	if job.Again && op.repairs { // it looks for what is there, and does not miss what is gone
		entered.passed()
	}
	for _, step := range op.steps[done:] {
		if failed := step(w); failed != nil || err != nil {
			return fmt.Errorf("step %d: %w", done, errors.Join(failed, err))
		}
		done++
		report("")
	}
	return die("")
}

// cutPower makes a file system forget what is not on its disk.
func cutPower(dir *os.File) error {
	const (
		shutdown   = 0x8004587d // FS_IOC_SHUTDOWN
		noLogFlush = 2
	)
	return unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush)
}

// run runs the process until it is dead, and returns the last it said.
func (job crashJob) run(ctx context.Context) (crashReport, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return crashReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, crashPatience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || ctx.Err() != nil {
		return crashReport{}, fmt.Errorf("the process did not die as it should: %w: %s", err, &stderr)
	}
	last := crashReport{Done: job.Done, Upload: job.Upload}
	for d := json.NewDecoder(&stdout); ; {
		if err := d.Decode(&last); errors.Is(err, io.EOF) {
			return last, nil
		} else if err != nil {
			return last, err
		}
	}
}
