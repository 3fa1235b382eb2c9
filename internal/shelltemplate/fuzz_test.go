package shelltemplate_test

// What comes of values in shell text: templates are put together from pieces of shell, the values are hostile, and what
// renders runs in the real dash and the real bash, as sh. No value brings shell syntax in: the file P, which the values
// try to make, never exists, and a command that only shows its arguments shows the values.

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vespene-autoscale/internal/shelltemplate"
)

var shellRounds = flag.Int("shellrounds", 300, "how many templates TestShell runs")

// hostile values want to be read as syntax, as a number, as the end of what they stand in, or as nothing at all.
var hostile = []any{
	"EOF", "EO", "F", "$(touch P)", "a[$(touch P)]", "VESPENE_POOL", "x;touch P", "`touch P`", "x\ntouch P",
	"\nEOF\ntouch P\n", "done", "fi", "esac", "A=b", "A=`touch P`", "a,b", "1", "010", "0x1f", "-n", "-c", "名", "ß",
	"\u3164", "\u202e", "'", `"`, `\`, `\\`, "", " ", "'; touch P; '", `"; touch P; "`, "); touch P; (", "); touch P",
	"; }; touch P", ")); touch P; ((", "]]; touch P", ";; esac; touch P", "x) touch P ;;", "}$(touch P)", "}; touch P",
	"&touch P", "|touch P", ">P", "<(touch P)", "!", "*", "?", "~", "#", "%", "a b", "touch P", "1+1", "x=1", "A[0]=1",
	"A+=b", "a[0]", "@", "1,2", "1:2", "1..3", "1-", "2", "e", "E", "$", "$x", "${x}", "x@P", "`", "\t", "\tEOF", "\r",
	"=", "==", "=x", ":", "+x", "1/0", "EOF\n", int64(7), int64(-1), int64(0), 0.5, true, nil,
}

// pieces are shell text. ¶ stands for an output, or for a piece in $( ); § only for an output without quote, where
// the shell text itself has its arguments read as commands. A line touch P is for text that is no command until a value
// ends what it stands in.
var pieces = []string{
	// Words and quotes.
	"show ¶", "show a ¶ b", "show x¶", "show ¶x", "show ¶¶", `show "¶"`, "show '¶'", `show "a ¶ b"`, "show 'a ¶ b'",
	`show "'¶'"`, `show '"¶"'`, `show \¶`, "show $¶", "show ${¶}", "show ${¶:-x}", "show $'¶'", `show $"¶"`,
	"show # ¶\nshow b", "show a#¶", `show "x"¶'y'`, `show "\¶"`, `show "$¶"`, "show ~¶", "show ¶ 'touch P'",
	"show \"¶\" 'touch P'", "show [¶] *¶", "show ¶\\\n¶", "show $x¶", "show ${x}¶", `show "$x¶"`, "show $1¶",
	"show a=¶", "show --a=¶", `show '{"a":¶}'`,
	// Expansions.
	"show $(show ¶)", `show "$(show ¶)"`, "show `show ¶`", "show \"`show ¶`\"", `show "$(show "¶")"`,
	"show `show '¶'`", "show ${x:-¶}", `show "${x:-¶}"`, "show ${x:+¶}", "show ${x:=¶}", "show ${HOME:+¶}",
	"show ${HOME#¶}", "show ${HOME%¶}", "show ${HOME:¶}", "show ${HOME:0:¶}", "show ${HOME/¶/b}", "show ${HOME/a/¶}",
	"show ${x[¶]}", "show ${#x[¶]}", "show ${x?¶}", `show "${x:-"¶"}"`, "show ${x:-'¶'}", "show ${x:-$((¶))}",
	"show ${!¶}", "show ${x@¶}", "show ${HOME^^¶}", "show <(show ¶)", "show {a,¶}", "show {1..¶}", "show {¶,b}",
	"show {¶}",
	// Arithmetic.
	"show $((¶))", "show $(( ¶ + 1 ))", "show $(( 1¶ ))", "show $(( x¶ ))", "show $(( x[¶] ))", `show "$(( ¶ ))"`,
	"show $[¶]", "show $(( '¶' ))", `show $(( "¶" ))`, "show $(( ${x:-¶} ))", "show $(( $(show ¶) ))",
	"show $(( ¶¶ ))", "show $(( 0¶ ))", "show $(( ¶ ? ¶ : 0 ))", "show $(( 1 # ¶ ))", "show $(( -¶ ))",
	"(( ¶ > 1 )) && show y", "((x=¶))", "((¶))", "for ((i=0; i<¶; i++)); do show x; break; done", "let ¶", "let x=¶",
	`let "x=¶"`, "let x+=1 ¶", "x[¶]=1", "x[¶]+=1; show a", "x=(¶)", "x=([¶]=1)", "x=(a [¶]=b)", "x+=(¶)",
	"declare -A x; x[¶]=1", "x=¶; show \"$x\"", "x=¶ show a", "x+=¶", "x=a¶",
	// Builtins that take names, numbers or commands.
	"[[ ¶ -gt 1 ]] && show y", "[[ 1 -eq ¶ ]]", "[[ a == ¶ ]]", "[[ a == '¶' ]]", "[[ a =~ ¶ ]]", "[[ -v ¶ ]]",
	"[[ ¶ ]]", "[[ -n ¶ ]]", "[[ ¶ < b ]]", "[[ -t ¶ ]]", "[ ¶ -gt 1 ]", "[ -v ¶ ]", `[ "¶" -v ¶ ]`, "[ -n ¶ ]",
	"[ a = ¶ ]", "[ ! -v ¶ ]", "[ a -a -v ¶ ]", "[ -t ¶ ]", "[ ¶ ¶ ]", "[ ¶ ¶ ¶ ]", "test ¶ -gt 1", "test -v ¶",
	"test ¶", "test ¶ ¶ ¶", "declare -i x=¶", "declare -i ¶", "declare ¶", "declare ¶=1", "declare -a x=¶",
	"declare -n x=¶; show $x", "declare -i x; x=¶", "OPTIND=¶", "RANDOM=¶", "typeset -i x=¶", "declare x[¶]=1",
	"declare -ai x='(¶)'", "f() { local x=¶; show \"$x\"; }; f", "f() { local -i x=¶; }; f", "f() { local ¶; }; f",
	"f() { return ¶; }; f", "export ¶", "export x=¶", "export ¶=1", "readonly x=¶", "readonly ¶", "unset ¶",
	"unset 'x[¶]'", "unset -v ¶", "unset x[¶]", "printf -v ¶ x", "printf -v 'x[¶]' y", "printf ¶", "printf '%d' ¶",
	"printf '%s' ¶", "printf -v x[¶] y", "read \"x[¶]\" </dev/null", "printf -v x ¶", "read ¶ </dev/null",
	"read -r x ¶ <<E\n1 2\nE", "read -a ¶ </dev/null", "mapfile ¶ </dev/null", "mapfile -C ¶ -c 1 x </etc/passwd",
	"mapfile -O ¶ x </dev/null", "getopts a ¶", "wait ¶", "shift ¶", "break ¶", "exit ¶", "umask ¶", "cd ¶", "type ¶",
	"hash ¶", "complete -C ¶ x", "compgen -W ¶", "compgen -C ¶", "enable ¶", "set -o ¶", "shopt -s ¶", "history -s ¶",
	"fc ¶", "coproc ¶", "PS4=¶; set -x; show a", "PROMPT_COMMAND=¶; show a", "BASH_ENV=¶ sh -c :", "ENV=¶ sh -c :",
	"IFS=¶; show a b", "wait -p ¶", "command -v ¶", "builtin ¶", "builtin eval ¶", "command ¶", "exec ¶",
	"exec show ¶", "alias ¶", "alias x=¶\nx",
	// Read twice.
	"eval ¶", "eval show ¶", `eval "show ¶"`, "eval 'show ¶'", `eval "show '¶'"`, "command eval ¶", "sh -c ¶",
	"sh -c 'show ¶'", `sh -c "show ¶"`, `sh -c "show '¶'"`, `sh -c 'show "¶"'`, "sh -ec 'show ¶'", "sh -ce ¶",
	"env -S ¶", "\"$SHELL\" -c ¶", "sh -c 'show \"$1\"' x ¶", "sh -c 'show \"$@\"' ¶", "bash -c ¶", "bash -c 'show ¶'",
	`bash -c "show ¶"`, "bash -o posix -c 'show ¶'", "bash --norc -c ¶", "/bin/sh -c ¶", "ssh host ¶",
	"ssh host show ¶", `ssh host "show ¶"`, "ssh host 'show ¶'", "ssh ¶ show a", "ssh -p 1 host ¶", "su -c ¶",
	"su -c 'show ¶'", "trap ¶ EXIT", "trap 'show ¶' EXIT", `trap "show ¶" EXIT`, "trap -- ¶ 0", "env sh -c ¶",
	"env x=¶ show a", "env ¶ show", "exec sh -c ¶", "timeout 1 sh -c ¶", "sudo sh -c ¶", "sudo ssh host ¶",
	"x=1 sh -c ¶", "! eval ¶", "time eval ¶", "show a | sh -c ¶", "{ eval ¶; }", "nice sh -c 'show ¶'",
	"xargs sh -c ¶ </dev/null", "show a | xargs show ¶", "xargs -I{} sh -c 'show ¶' </dev/null", "sh <<E\nshow §\nE",
	"sh <<'E'\nshow §\nE", "show § | sh", "sh <<<§", ". ./¶", "source ¶", "docker exec x sh -c 'show ¶'",
	"docker exec x sh -c ¶", "$SHELL -c ¶", `"sh" -c ¶`, "s\\h -c ¶", "'ev'al ¶", `sh -c "$(show ¶)"`,
	`eval "$(show §)"`, "eval `show §`", "find . -maxdepth 0 -exec sh -c ¶ \\;", "parallel ¶", "watch ¶",
	// Redirections.
	"show a >¶", "show a >&¶", "show a 2>&¶", "show a <¶", "show a <<<¶", "show a >>¶", "show a &>¶", "show a >|¶",
	"show a <>¶", "show a ¶>x", "show a ¶<x", "show a {¶}>x", "show a >&'¶'", "show a <&¶", "exec ¶>x", "show a >x¶",
	"show a >&\"¶\"", "show a >$(show ¶)", "show a 2>¶ ¶",
	// Commands.
	"¶", "¶ show a", "¶ touch P", "show a; ¶", "show a && ¶", "show a | ¶", "¶=1 show", "¶=1", "¶() { show x; }",
	"function ¶ { show x; }", "{ show ¶; }", "(show ¶)", "! ¶", "! show ¶", "time ¶", "show ¶ &", "f() { show ¶; }; f",
	"f() { ¶\n}\nf", "A=1 ¶ touch P", "case ¶ in a) show x;; *) show y;; esac",
	"case x in ¶) show a;; *) show y;; esac", "case x in a) show ¶;; esac", "case y in x)\n¶\ntouch P;; esac",
	"case x in (¶) show a;; esac", "case x in ¶|y) show a;; esac", "case x in\n¶\nesac",
	"for i in ¶ b; do show \"$i\"; done", "for i in a; do show ¶; done", "for ¶ in a; do show b; done",
	"for i in; do\n¶\ntouch P\ndone", "while false; do\n¶\ntouch P\ndone", "while show ¶; do break; done",
	"until ¶; do break; done", "if show ¶; then show b; fi", "if false; then\n¶\ntouch P\nfi",
	"if false; then ¶; touch P; fi", "if false\n¶\nthen touch P; fi", "if ¶ false; then touch P; fi",
	"false && ¶ touch P", "select i in ¶; do break; done </dev/null", "if false; then show a\nelse ¶\nfi",
	"false && { ¶\ntouch P\n}",
	// Here-documents.
	"cat <<EOF\n¶\ntouch P\nEOF", "cat <<EOF\na ¶\ntouch P\nEOF\nshow b", "cat <<'EOF'\n¶\ntouch P\nEOF",
	"cat <<\"EOF\"\n¶\ntouch P\nEOF", "cat <<\\EOF\n¶\ntouch P\nEOF", "cat <<E\"O\"F\n¶\ntouch P\nEOF",
	"cat <<-EOF\n\t¶\n\ttouch P\n\tEOF", "cat <<-'EOF'\n\t\t¶\n\ttouch P\n\tEOF", "cat <<EOF\n¶¶\ntouch P\nEOF",
	"cat <<EOF\nE¶\ntouch P\nEOF", "cat <<EOF\n¶F\ntouch P\nEOF", "cat <<EOF\nE¶F\ntouch P\nEOF",
	"cat <<¶\ntouch P\n¶\nshow a", "cat <<x¶\ntouch P\nx¶", "cat <<A <<EOF\nx\nA\n¶\ntouch P\nEOF",
	"cat <<EOF; show ¶\n¶\ntouch P\nEOF", "cat <<EOF\n$(show ¶)\ntouch P\nEOF", "cat <<EOF\n$((¶))\nEOF",
	"cat <<EOF\n${x:-¶}\ntouch P\nEOF", "cat <<EOF\n\\¶\ntouch P\nEOF", "cat <<EOF\nE\\\n¶\ntouch P\nEOF",
	"cat <<EOF\nEO\\\n¶\ntouch P\nEOF", "cat <<EOF\n`show ¶`\nEOF", "cat <<'E O'\n¶\ntouch P\nE O",
	"cat <<EOF\n\"¶\"\ntouch P\nEOF", "cat <<EOF\n$¶\nEOF", "cat <<-EOF\n¶\n\ttouch P\nEOF",
	"cat <<EOF |\n¶\ntouch P\nEOF\nshow b", "show \"$(cat <<EOF\n¶\ntouch P\nEOF\n)\"", "cat <<'¶'\ntouch P\n¶",
	"cat <<$(x)\n¶\ntouch P\n$(x)", "cat <<EOF\n\n¶\ntouch P\n\nEOF", "f() { cat <<EOF\n¶\ntouch P\nEOF\n}; f",
	"if :; then cat <<EOF\n¶\ntouch P\nEOF\nfi", "cat <<''\nx¶\ntouch P\n\nshow a", "cat <<''\n¶\ntouch P\n\nshow a",
	"cat <<EOF\n{% for i in v.list %}{{ i }}\n{% endfor %}touch P\nEOF", "cat <<$'EOF'\n¶\ntouch P\nEOF",
	"cat <<EOF\n{% for i in v.list %}{{ i }}{% endfor %}\ntouch P\nEOF", "cat <<EOF\n¶ \ntouch P\nEOF",
	"cat <<E\\OF\n¶\ntouch P\nEOF", "show {% for i in v.list %}{{ i }} {% endfor %}",
	"show {% for i in v.list %}'{{ i }}' {% endfor %}", "show {% for i in v.list %}{{ i|quote }} {% endfor %}",
	"{% if v.a %}show ¶{% else %}show x{% endif %}",
	"show {% if v.a %}'{% else %}\"{% endif %}¶{% if v.a %}'{% else %}\"{% endif %}",
	"{% with x=v.b %}show {{ x|quote }}{% endwith %}", "{% with x=v.b|quote %}sh -c {{ x }}{% endwith %}",
	"show {{ v.a|default:\"\" }} {{ v.b|upper }} {{ v.c|lower|quote }}", "show '{{ v.list|json }}' '{{ v|json }}'",
	"show {{ v.list|join:\",\" }} {{ v.list|join:\" \"|quote }}", "show {{ v.a|urlencode }}",
	"show {{- v.a -}} 'touch P'", "show \"{{ v.list|json }}\"", "show {{ v.list|json }}",
}

// A piecer makes the template of a seed.
type piecer struct{ *rand.Rand }

func (p piecer) output(quote bool) string {
	outputs := []string{"{{ v.a }}", "{{ v.a }}", "{{ v.a }}", "{{ v.c|json }}", "'{{ v.c|json }}'",
		"{{ worker_pool.name }}", "{{ v.b|quote }}", "{{ v.b|quote }}"}
	if !quote {
		outputs = outputs[:6]
	}
	return outputs[p.IntN(len(outputs))]
}

func (p piecer) piece(depth int) string {
	var b strings.Builder
	piece := pieces[p.IntN(len(pieces))]
	for depth > 0 && strings.Contains(piece, "touch P") { // a piece around it may run what this one prints
		piece = pieces[p.IntN(len(pieces))]
	}
	for _, r := range piece {
		switch {
		case r == '¶' && depth < 2 && !strings.Contains(piece, "touch P") && p.IntN(12) == 0:
			around := [][2]string{{"$(", ")"}, {`"$(`, `)"`}, {"`", "`"}, {"$(( $(", ") ))"}}[p.IntN(4)]
			b.WriteString(around[0] + p.piece(depth+1) + "\n"[:p.IntN(2)] + around[1])
		case r == '¶', r == '§':
			b.WriteString(p.output(r == '¶'))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (p piecer) template() string {
	template := p.piece(0)
	for p.IntN(6) == 0 {
		template += []string{"\n", "; ", " && ", " | "}[p.IntN(4)] + p.piece(0)
	}
	return template
}

// words is a template of the command show with outputs as words, and the arguments that it has if it renders. The
// argument of json is nil: it is right if it reads as the value.
func (p piecer) words(v map[string]any) (template string, arguments []any) {
	template = "show"
	for range 1 + p.IntN(4) {
		word := []struct{ text, of string }{{"{{ v.a }}", "a"}, {`"{{ v.a }}"`, "a"}, {"'{{ v.a }}'", "a"},
			{"{{ v.b|quote }}", "b"}, {`""{{ v.b|quote }}''`, "b"}, {"x{{ v.a }}{{ v.b|quote }}", "xab"},
			{"'{{ v.c|json }}'", "json"}}[p.IntN(7)]
		template += " " + word.text
		if word.of == "json" {
			arguments = append(arguments, nil)
			continue
		}
		argument := ""
		for _, name := range word.of {
			if value := v[string(name)]; value != nil {
				argument += shown(value)
			} else if name == 'x' {
				argument += "x"
			}
		}
		arguments = append(arguments, argument)
	}
	return template, arguments
}

// A shell is one of the two that are sh on Linux, with a PATH of its own, on which little is.
type shell struct{ program, path string }

// shells makes the folders of their PATHs. The programs there that read arguments as commands are stand-ins that do
// only that.
func shells(t testing.TB) []shell {
	var all []shell
	for _, name := range []string{"dash", "bash"} {
		program, err := exec.LookPath(name)
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		s := shell{program, t.TempDir()}
		for name, script := range map[string]string{
			"show":    `for argument; do printf '%s\0' "$argument"; done`,
			"ssh":     `[ "$1" = -p ] && shift 2; shift; eval "$*"`,
			"su":      `shift; eval "$1"`,
			"sudo":    `"$@"`,
			"timeout": `shift; "$@"`,
			"nice":    `"$@"`,
			"watch":   `eval "$*"`,
			"docker":  `shift 2; "$@"`,
		} {
			if err := os.WriteFile(filepath.Join(s.path, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"cat", "touch", "env", "xargs", "find", "dash", "bash"} {
			if found, err := exec.LookPath(name); err == nil {
				os.Symlink(found, filepath.Join(s.path, name))
			}
		}
		os.Symlink(program, filepath.Join(s.path, "sh"))
		all = append(all, s)
	}
	return all
}

// run runs a line in a folder of its own, and returns what it printed; the test fails if P is there afterwards.
func (s shell) run(t *testing.T, line string) (output string, madeP bool) {
	t.Helper()
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	var out bytes.Buffer
	c := &exec.Cmd{Path: s.program, Args: []string{"sh", "-c", line}, Dir: folder, Stdout: &out,
		Env:         []string{"PATH=" + s.path, "HOME=" + folder, "SHELL=" + s.program, "VESPENE_POOL=a[$(touch P)]"},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, WaitDelay: 100 * time.Millisecond}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	limit := time.AfterFunc(2*time.Second, kill)
	c.Wait()
	limit.Stop()
	kill()
	_, err = os.Lstat(filepath.Join(folder, "P"))
	return out.String(), err == nil
}

// testShell renders a template of pieces and one of words with the values, and runs them. It returns how many rendered.
func testShell(t *testing.T, all []shell, seed uint64, a, b, c any) (rendered int) {
	p := piecer{rand.New(rand.NewPCG(seed, 14))}
	v := map[string]any{"a": a, "b": b, "c": c, "list": []any{a, "x", b}}
	values := map[string]any{"v": v, "worker_pool": map[string]any{"name": a}}
	environment := map[string]string{"worker_pool.name": "VESPENE_POOL"}
	template := p.template()
	if command, err := shelltemplate.Render(template, values, environment); err == nil {
		rendered++
		for _, s := range all {
			if _, madeP := s.run(t, command.Line); madeP {
				t.Errorf("seed %d: template %q with %q: %s: a value made P by %q", seed, template, []any{a, b, c},
					s.program, command.Line)
			}
		}
	}
	template, want := p.words(v)
	command, err := shelltemplate.Render(template, values, environment)
	if err != nil {
		return rendered
	}
	for _, s := range all {
		output, madeP := s.run(t, command.Line)
		got := strings.Split(strings.TrimSuffix(output, "\x00"), "\x00")
		if problem := wrongArguments(got, want, c); problem != "" || madeP {
			t.Errorf("seed %d: template %q with %q: %s: %q shows %q: %s (P: %v)", seed, template, []any{a, b, c},
				s.program, command.Line, got, problem, madeP)
		}
	}
	return rendered + 1
}

func wrongArguments(got []string, want []any, c any) string {
	if len(got) != len(want) {
		return fmt.Sprintf("want %d arguments", len(want))
	}
	for i := range want {
		if want[i] == nil {
			if problem := difference([]marked{{isJSON: true, json: c}}, got[i]); problem != "" {
				return problem
			}
		} else if got[i] != want[i] {
			return fmt.Sprintf("want %q", want[i])
		}
	}
	return ""
}

func TestShell(t *testing.T) {
	all := shells(t)
	rendered := 0
	for seed := range uint64(*shellRounds) {
		r := rand.New(rand.NewPCG(seed, 16))
		a, b, c := hostile[r.IntN(len(hostile))], hostile[r.IntN(len(hostile))], hostile[r.IntN(len(hostile))]
		rendered += testShell(t, all, seed, a, b, c)
	}
	t.Logf("%d of %d rendered", rendered, 2**shellRounds)
	if rendered < *shellRounds/4 {
		t.Errorf("only %d of %d templates rendered", rendered, 2**shellRounds)
	}
}

func FuzzShell(f *testing.F) {
	all := shells(f)
	for i, value := range hostile {
		if s, ok := value.(string); ok {
			f.Add(uint64(1000+i), s, hostile[(i*7+3)%60].(string), hostile[(i*11+5)%60].(string))
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64, a, b, c string) {
		testShell(t, all, seed, a, b, strings.ToValidUTF8(c, "?")) // other bytes cannot be in JSON
	})
}
