package fsmount

import (
	"regexp"
	"strings"
)

// toolTemporaries are the forms of temporaries that could be tags as well, by
// the program that makes them: links by ln -sf, files by sed -i. So does
// cp -sf, but what it makes may as well have the name of a tag that it copies.
var toolTemporaries = map[string]*regexp.Regexp{
	"ln":  regexp.MustCompile(`^Cu[A-Za-z0-9]{6}$`),
	"sed": regexp.MustCompile(`^sed[A-Za-z0-9]{6}$`),
}

// isToolTemporary reports whether a name that a thread makes is such a
// temporary's: then its program was not given the name, but made it up. A name
// of which that is not known is a tag's at once; so nothing that was meant
// waits for a rename that never comes, and where one comes it moves a tag.
func isToolTemporary(tid uint32, name string) bool {
	for program, form := range toolTemporaries {
		if form.MatchString(name) && commandOf(tid) == program {
			arguments := argumentsOf(tid)
			return arguments != "" && !strings.Contains(arguments, name)
		}
	}
	return false
}

// madeBy is targetOf for a name that a thread makes.
func (p place) madeBy(tid uint32, name string) (target, error) {
	t, err := p.targetOf(name)
	if err == nil && t.means == aTag && isToolTemporary(tid, name) {
		t.means = aScratch
	}
	return t, err
}
