package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// contender is one way of doing the work of a row.
type contender struct {
	name    string
	prepare func(context.Context) error // not timed; may be nil
	work    func(context.Context) error
	// own, where it is set, does the work and tells itself how long it took.
	own func(context.Context) (time.Duration, error)
}

// medians are of the seconds that the contenders took, by name.
type medians map[string]float64

// contest lets contenders take turns, and returns the medians of their times.
func (b *bench) contest(ctx context.Context, row string, contenders ...contender) (medians, error) {
	return b.contestOf(ctx, b.sizes.rounds, row, contenders...)
}

// contestOf is contest with a number of rounds.
func (b *bench) contestOf(ctx context.Context, rounds int, row string, contenders ...contender) (medians, error) {
	times := map[string][]float64{}
	for round := range rounds {
		for _, c := range contenders {
			took, err := c.turn(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
			say("row %-4s round %d  %-28s %9.4f s", row, round+1, c.name, took.Seconds())
			times[c.name] = append(times[c.name], took.Seconds())
		}
	}
	m := medians{}
	for name, t := range times {
		m[name] = median(t)
	}
	return m, nil
}

func (c contender) turn(ctx context.Context) (time.Duration, error) {
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return 0, err
		}
	}
	if c.own != nil {
		return c.own(ctx)
	}
	begun := time.Now()
	err := c.work(ctx)
	return time.Since(begun), err
}

// median is the middle of values, of which there is one at least.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
