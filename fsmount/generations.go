package fsmount

import "time"

const (
	// maxGenerations is how many generations are remembered before those are
	// forgotten that nobody uses.
	maxGenerations = 1 << 14
	// generationAge is how long one counts as used after it was asked for: by
	// then the kernel has had the answer.
	generationAge = time.Minute
)

// generations tells a directory from others that had its name before: the
// kernel must never be shown again one that it has removed. What mkdir makes has
// a number that nothing else has, for as long as it is there; what comes in
// another way, which rmdir cannot remove, has 0. There are no more than twice as
// many as are in use, or as maxGenerations. The caller locks.
type generations struct {
	byName map[string]generation
	last   uint64
	many   int
}

type generation struct {
	number uint64
	asked  time.Time
}

// madeDir is a directory that mkdir made.
type madeDir struct {
	name   string
	number uint64
}

func newGenerations() generations {
	return generations{byName: map[string]generation{}, many: maxGenerations}
}

// begin is for a directory that is made.
func (g *generations) begin(name string) {
	if _, known := g.byName[name]; !known {
		g.last++
		g.byName[name] = generation{g.last, time.Now()}
	}
}

// end is for one that is removed.
func (g *generations) end(name string) { delete(g.byName, name) }

func (g *generations) number(name string) uint64 {
	known, ok := g.byName[name]
	if ok {
		known.asked = time.Now()
		g.byName[name] = known
	}
	return known.number
}

func (g *generations) areMany() bool { return len(g.byName) >= g.many }

// idle is the directories of such names that nobody has asked for lately.
func (g *generations) idle(may func(name string) bool) []madeDir {
	var idle []madeDir
	for name, known := range g.byName {
		if may(name) && time.Since(known.asked) > generationAge {
			idle = append(idle, madeDir{name, known.number})
		}
	}
	return idle
}

// forget forgets directories, unless somebody has asked for them meanwhile.
func (g *generations) forget(dirs []madeDir) {
	for _, dir := range dirs {
		known := g.byName[dir.name]
		if known.number == dir.number && time.Since(known.asked) > generationAge {
			delete(g.byName, dir.name)
		}
	}
	g.many = max(maxGenerations, 2*len(g.byName))
}
