package shelltemplate

import (
	"errors"
	"fmt"
	"math"
	"path"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// places.go owns where values may stand. A command is parsed by the grammars of bash and of POSIX, since either may be
// /bin/sh, and once more with an x for each byte of the values: where the two trees differ, a value is syntax. What is
// around a value in the tree decides the rest; inside anything that is not listed here only whole numbers may stand.

type place struct {
	from, to int // in the command
	kind     kind
	source   string // its {{ … }}
	variable string // of the environment, with the same in it
	value    string
}

type kind int

const (
	number kind = iota
	word
	quotedWord // by |quote
	jsonWord   // by |json
	refused    // an x stands for what is no plain word
	asWritten  // by |safe, which is held to nothing
)

// checkPlaces returns an error, with its cure, where some shell would not take a value as it is meant.
func checkPlaces(line string, places []place) error {
	harmless := !strings.ContainsAny(line, "<>{[(")
	for _, p := range places {
		if p.from > 0 && line[p.from-1] == '$' {
			return fmt.Errorf("%s %s", p.source, cure("misplaced", "name"))
		}
		harmless = harmless && p.kind == number
	}
	if harmless || len(places) == 0 {
		return nil
	}
	// The parser's time grows by the square of what is inside each other.
	words := 0
	for _, r := range line {
		if strings.ContainsRune(" \t\n;", r) {
			words++
		} else if strings.ContainsRune("({[`&|$<", r) {
			words += 10
		}
	}
	if err := limit(words, wordLimit, "it renders to more than %d words (an operator counts ten)"); err != nil {
		return err
	}
	shape, err := checkIn(syntax.LangBash, line, places, nil)
	if err == nil {
		_, err = checkIn(syntax.LangPOSIX, line, places, shape)
	}
	return err
}

// checkIn is checkPlaces in one shell, and returns how that reads the command; if it does so as the one checked before,
// there is nothing new to check. Bash's grammar has to take the whole command. Where that of POSIX does not, dash still
// runs the lines before.
func checkIn(shell syntax.LangVariant, line string, places []place, before []node) ([]node, error) {
	file, parseErr := parse(shell, line)
	if parseErr != nil && shell == syntax.LangBash {
		p := places[max(0, slices.IndexFunc(places, func(p place) bool { return p.kind != number }))]
		if p.kind == refused {
			return nil, fmt.Errorf("%s %w", p.source, p.notPlain("bare"))
		}
		return nil, fmt.Errorf("%s cannot be placed, since how the shell reads the command cannot be told (%w): "+
			"close every quote and bracket, and write no quotes around |quote", p.source, parseErr)
	}
	shape := shapeOf(file)
	if parseErr == nil && slices.Equal(shape, before) {
		return shape, nil
	}
	isSyntax := func(n int) bool { // among the first n values is one
		neutral := []byte(line)
		for _, p := range places[:n] {
			if p.kind <= word {
				copy(neutral[p.from:], strings.Repeat("x", p.to-p.from))
			}
		}
		other, err := parse(shell, string(neutral))
		return (err == nil) != (parseErr == nil) || !slices.Equal(shape, shapeOf(other))
	}
	if isSyntax(len(places)) {
		p := places[sort.Search(len(places)-1, func(i int) bool { return isSyntax(i + 1) })]
		return nil, fmt.Errorf("%s is %q, %s", p.source, p.value, cure("misplaced", "syntax"))
	}
	found, err := check(file, shell, line, places)
	i := slices.Index(found, false)
	if err != nil || i < 0 || parseErr != nil {
		return shape, err
	}
	misplaced := "nowhere"
	if places[i].kind == jsonWord { // its quotes are the shell's, and make other words
		misplaced = "json"
	}
	return nil, fmt.Errorf("%s %s", places[i].source, cure("misplaced", misplaced))
}

func parse(shell syntax.LangVariant, line string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(shell), syntax.KeepComments(true)).Parse(strings.NewReader(line), "")
}

type node struct {
	kind reflect.Type // nil where the innermost open one ends
	from uint
}

// shapeOf lists the nodes of a command. In a brace expansion a comma of a value's would make two words of it.
func shapeOf(file *syntax.File) []node {
	shape := make([]node, 0, file.End().Offset())
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			shape = append(shape, node{})
			return true
		}
		shape = append(shape, node{reflect.TypeOf(n), n.Pos().Offset()})
		if w, isWord := n.(*syntax.Word); isWord {
			for open := []*syntax.Word{{Parts: slices.Clone(w.Parts)}}; len(open) > 0; open = open[1:] {
				syntax.SplitBraces(open[0])
				for _, part := range open[0].Parts {
					if braces, is := part.(*syntax.BraceExp); is {
						shape = append(shape, node{reflect.TypeOf(part), uint(len(braces.Elems))})
						open = append(open, braces.Elems...)
					}
				}
			}
		}
		return true
	})
	return shape
}

// check finds the values in a command, and holds each to what stands around it.
func check(file *syntax.File, shell syntax.LangVariant, line string, places []place) (found []bool, err error) {
	outermost := context{inside: "bare", bash: shell == syntax.LangBash}
	outermost.names, outermost.functions = computesWithNames(file, line)
	around, found := []context{outermost}, make([]bool, len(places))
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		c := around[len(around)-1].enter(n, line)
		around = append(around, c)
		switch n.(type) {
		case *syntax.Lit, *syntax.SglQuoted, *syntax.Comment:
			from, to := int(n.Pos().Offset()), int(n.End().Offset())
			first, _ := slices.BinarySearchFunc(places, from, func(p place, at int) int { return p.from - at })
			for ; first < len(places) && places[first].from < to && err == nil; first++ {
				found[first] = true
				if err = places[first].check(line, c); err != nil {
					err = fmt.Errorf("%s %w", places[first].source, err)
				}
			}
		}
		return true
	})
	return found, err
}

// context is what a node is inside of.
type context struct {
	node       syntax.Node
	bash       bool
	inside     string // the innermost quotes: ', $', ", << or bare
	computed   bool   // with what a variable of that name holds, or it has rules of its own
	document   bool   // a here-document
	continued  bool   // one with a line that goes on in the next
	backquotes bool   // in which a backslash means something
	twice      bool   // a shell reads it again
	twiceFrom  uint   // where in a command its arguments begin that are read again
	word       uint   // where the innermost word of a command begins
	names      bool   // somewhere the command computes with variables
	functions  bool   // somewhere it declares one, whose arguments are variables
	variable   bool   // a value of a variable, or what may be read into one
}

// enter returns the context of a child of c's node.
func (c context) enter(n syntax.Node, line string) context {
	switch parent := c.node.(type) {
	case *syntax.CallExpr:
		c.twice, c.word = c.twice || n.Pos().Offset() >= c.twiceFrom, n.Pos().Offset()
	case *syntax.BinaryCmd:
		if parent.Op != syntax.AndStmt && parent.Op != syntax.OrStmt && n == parent.X {
			c.variable, c.twice = true, c.twice || feedsShell(parent.Y)
		}
	case *syntax.Redirect:
		if n == parent.Hdoc {
			c.inside, c.document, c.variable = "<<", true, true
			c.continued = strings.Contains(line[n.Pos().Offset():n.End().Offset()], "\\\n")
		} else {
			c.computed = c.computed || parent.Hdoc != nil ||
				slices.Contains([]syntax.RedirOperator{syntax.DplIn, syntax.DplOut, syntax.WordHdoc}, parent.Op)
		}
	case *syntax.Assign:
		c.computed = c.computed || parent.Naked || n != parent.Value && n != parent.Array ||
			slices.Contains(computedNames, parent.Name.Value)
		c.variable = true
		c.twice = c.twice || parent.Name != nil && slices.Contains(evaluatedNames, parent.Name.Value)
	case *syntax.WordIter:
		c.computed = c.computed || n != parent.Name && slices.Contains(computedNames, parent.Name.Value)
		c.variable = true
	case *syntax.ArrayElem:
		c.computed = c.computed || n != parent.Value
	}
	switch n := n.(type) {
	case *syntax.File, *syntax.Stmt, *syntax.Block, *syntax.Subshell, *syntax.IfClause, *syntax.WhileClause,
		*syntax.ForClause, *syntax.WordIter, *syntax.FuncDecl, *syntax.CaseClause, *syntax.CaseItem, *syntax.TimeClause,
		*syntax.BinaryCmd, *syntax.Redirect, *syntax.Assign, *syntax.ArrayExpr, *syntax.ArrayElem, *syntax.Word,
		*syntax.Comment:
	case *syntax.CallExpr:
		c.twiceFrom = rereadFrom(n)
		command := builtin(n)
		c.computed = c.computed || c.bash && slices.Contains(declarations, command)
		c.variable = c.variable || c.functions || command == "set" || c.twiceFrom != math.MaxUint
	case *syntax.DeclClause:
		c.computed = c.computed || hasOption(n)
	case *syntax.CmdSubst:
		c.inside, c.backquotes = "bare", c.backquotes || n.Backquotes
	case *syntax.DblQuoted:
		c.inside = `"`
	case *syntax.SglQuoted:
		c.inside = map[bool]string{true: "$'", false: "'"}[n.Dollar]
	case *syntax.Lit:
		_, inWord := c.node.(*syntax.Word)
		c.computed = c.computed || !inWord && c.inside != `"`
	default:
		c.computed = true
	}
	c.node = n
	return c
}

// isWhole tells whether every shell reads s as the same whole number.
func isWhole(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

// check holds the value to the context of the node that it is in.
func (p place) check(line string, c context) error {
	quotes, isQuotes := c.node.(*syntax.SglQuoted)
	begins := isQuotes && int(quotes.Pos().Offset()) == p.from && !quotes.Dollar
	before := line[:p.from]
	digits := before[len(strings.TrimRight(before, "0123456789")):]
	whole := p.kind <= word && isWhole(digits+p.value)
	unquoted := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(p.value, "'"), "'"), `'\''`, "'")
	misplaced := ""
	switch {
	case p.kind == refused:
		return p.notPlain(c.inside)
	case !whole && (c.computed || c.twice && p.kind == word && strings.Contains(line[c.word:p.from], "[")):
		misplaced = "computed"
	case !whole && c.names && c.variable:
		misplaced = "variable"
	case c.continued:
		misplaced = "continued"
	case c.twice && p.kind == quotedWord && !plainWord(unquoted),
		c.twice && p.kind == jsonWord && strings.ContainsAny(p.value, "[{"):
		misplaced = "twice"
	case p.kind == quotedWord && (!begins || c.backquotes || c.document):
		misplaced = "quoted"
	case p.kind == jsonWord && (c.inside != "'" && c.inside != "<<" || c.backquotes):
		misplaced = "json"
	case c.inside == "$'" && escape().MatchString(before):
		misplaced = "escape"
	default:
		return nil
	}
	return errors.New(cure("misplaced", misplaced))
}

// notPlain is the error of a value that is no plain word, with the cures that help inside these quotes.
func (p place) notPlain(inside string) error {
	advice := cure("place", inside)
	if first := cure("variable", inside); first != "" && p.variable != "" {
		advice = strings.ReplaceAll(first, "VARIABLE", p.variable) + " " + advice
	}
	return fmt.Errorf("is %.100q, which a shell would not take as one plain word: %s", p.value, advice)
}

// What reads an argument a second time: as a shell does, or as the name of a variable, whose subscript bash evaluates.
// rereaders always do, namers behind some options, and shells behind -c. A $ stands for a command out of a variable.
var (
	rereaders = []string{"$", "eval", "trap", "alias", "watch", "ssh", "autossh", "mosh", "pssh", "pdsh", "rsh", "scp",
		"rsync", "parallel", "read", "unset", "mapfile", "readarray", "getopts", "compgen", "complete"}
	namers = []string{"printf", "test", "[", "wait", "env"}
	shells = []string{"sh", "bash", "rbash", "dash", "ash", "ksh", "rksh", "ksh93", "mksh", "posh", "yash", "zsh",
		"rzsh", "fish", "csh", "tcsh", "su", "sg", "runuser", "script", "flock", "busybox"}
	inputReaders = []string{"ssh", "autossh", "pssh", "rsh", "at", "batch", "parallel"} // besides shells

	declarations   = []string{"let", "declare", "typeset", "local", "export", "readonly"} // they compute, or take names
	computedNames  = []string{"OPTIND", "RANDOM", "SRANDOM", "SECONDS", "LINENO", "HISTCMD", "BASHPID"}
	evaluatedNames = []string{"PS0", "PS1", "PS2", "PS4", "ENV", "BASH_ENV", "PROMPT_COMMAND"}
)

// Compiled when needed: most runs render nothing.
var (
	name   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z_]|\$\{?[0-9@*]`) })
	escape = sync.OnceValue(func() *regexp.Regexp { // of $'…', before its end
		return regexp.MustCompile(`[^\\](\\\\)*\\(c|x.?|u.{0,3}|U.{0,7}|[0-7]{0,2})$`)
	})
)

// computesWithNames tells whether something in a command reads variables as numbers, and with them what they name in
// turn, and whether the command declares functions.
func computesWithNames(file *syntax.File, line string) (names, functions bool) {
	for n := range syntax.Preorder(file) {
		var computed []syntax.Node
		switch n := n.(type) {
		case *syntax.FuncDecl:
			functions = true
		case *syntax.ArithmExp, *syntax.ArithmCmd, *syntax.LetClause, *syntax.CStyleLoop:
			computed = append(computed, n)
		case *syntax.DeclClause:
			names = names || hasOption(n)
		case *syntax.BinaryTest:
			if n.Op >= syntax.TsEql && n.Op <= syntax.TsGtr {
				computed = append(computed, n)
			}
		case *syntax.Assign:
			computed = append(computed, n.Index)
		case *syntax.ArrayElem:
			computed = append(computed, n.Index)
		case *syntax.ParamExp:
			if computed = append(computed, n.Index); n.Slice != nil {
				computed = append(computed, n.Slice.Offset, n.Slice.Length)
			}
		}
		for _, n := range computed {
			names = names || n != nil && name().MatchString(line[n.Pos().Offset():n.End().Offset()])
		}
	}
	return names, functions
}

// builtin returns the command's name, as bash finds its builtins.
func builtin(n *syntax.CallExpr) string {
	for _, w := range n.Args {
		if word := literal(w); word != "command" && word != "builtin" && !strings.HasPrefix(word, "-") {
			return word
		}
	}
	return ""
}

// hasOption tells whether a declaration has one, such as -i, which computes, or -n, which refers.
func hasOption(n *syntax.DeclClause) bool {
	return slices.ContainsFunc(n.Args, func(a *syntax.Assign) bool { return strings.HasPrefix(literal(a.Value), "-") })
}

// rereadFrom returns where in a command the arguments begin that are read twice, wherever the word stands that does so.
func rereadFrom(n *syntax.CallExpr) (from uint) {
	from = math.MaxUint
	command, name := false, false // whether an option follows that makes shells or namers read twice
	for _, w := range slices.Backward(n.Args) {
		word := literal(w)
		if options, isOption := strings.CutPrefix(word, "-"); isOption {
			letters := options[:len(options)-len(strings.TrimLeftFunc(options, unicode.IsLetter))]
			command = command || strings.Contains(letters, "c") || strings.HasPrefix(word, "--command")
			name = name || options != "" && strings.ContainsAny(options[:1], "vRpS")
		}
		program := path.Base(word)
		if slices.Contains(rereaders, program) && (program != "$" || w == n.Args[0]) ||
			name && slices.Contains(namers, program) || command && slices.Contains(shells, program) {
			from = w.End().Offset()
		}
	}
	return from
}

// feedsShell tells whether something in the right side of a pipe may read its input as a shell.
func feedsShell(right *syntax.Stmt) bool {
	for n := range syntax.Preorder(right) {
		if w, isWord := n.(*syntax.Word); isWord {
			program := path.Base(literal(w))
			if slices.Contains(inputReaders, program) || slices.Contains(shells, program) {
				return true
			}
		}
	}
	return false
}

// literal returns a word without its quotes, with a $ for what is expanded in it.
func literal(w *syntax.Word) (s string) {
	if w == nil {
		return ""
	}
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Lit:
			s += strings.ReplaceAll(n.Value, `\`, "")
		case *syntax.SglQuoted:
			s += n.Value
		case *syntax.ParamExp, *syntax.CmdSubst, *syntax.ArithmExp, *syntax.ProcSubst:
			s += "$"
			return false
		}
		return true
	})
	return s
}
