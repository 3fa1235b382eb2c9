package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The manual page and the shells' completions are made of the command line's own definitions:
// UPDATE_GENERATED=1 go test -run TestGenerated

func TestGenerated(t *testing.T) {
	app := newApp(nil, func(job) cli.ActionFunc { return nil })
	for file, text := range map[string]string{
		"packaging/vespene-autoscale.8":               manualPage(t, app),
		"packaging/completion/vespene-autoscale.bash": bashCompletion(app),
		"packaging/completion/_vespene-autoscale":     zshCompletion(app),
		"packaging/completion/vespene-autoscale.fish": fishCompletion(t, app),
	} {
		if os.Getenv("UPDATE_GENERATED") != "" {
			writeFile(t, file, []byte(text))
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s is not what the command line makes it (%v): UPDATE_GENERATED=1 go test -run TestGenerated",
				file, err)
		}
	}
}

// option is one as the manual and the completions have it.
type option struct {
	names       []string // with their dashes
	value       string   // what stands for it: NAME, FILE; "" where it takes none
	usage       string
	environment []string
	byDefault   string
	file        bool // the value is a file's name
	many        bool // it may be given more than once
}

// optionsOf are the options among the flags, in their order.
func optionsOf(flags []cli.Flag) (all []option) {
	for _, flag := range append(slices.Clip(flags), cli.HelpFlag) {
		var o option
		for _, name := range flag.Names() {
			o.names = append(o.names, strings.Repeat("-", min(2, len(name)))+name)
		}
		documented := flag.(cli.DocGenerationFlag)
		o.usage = documented.GetUsage()
		if placeholder := regexp.MustCompile("`(.*?)`").FindStringSubmatch(o.usage); documented.TakesValue() &&
			placeholder != nil {
			o.value = placeholder[1]
		}
		o.usage, o.environment = strings.ReplaceAll(o.usage, "`", ""), documented.GetEnvVars()
		if text, isString := flag.(*cli.StringFlag); isString {
			o.file = text.TakesFile
		}
		if _, o.many = flag.(*cli.GenericFlag); !o.many && documented.TakesValue() {
			o.byDefault = strings.Trim(documented.GetDefaultText(), `"`)
		}
		all = append(all, o)
	}
	return all
}

// short is the usage without what stands in brackets, for a completion's menu.
func (o option) short() string {
	text, _, _ := strings.Cut(o.usage, " (")
	text, _, _ = strings.Cut(text, " [")
	text, _, _ = strings.Cut(text, ";")
	return text
}

// manualPage is made by urfave's support for one, of a template of ours.
func manualPage(t *testing.T, app *cli.App) string {
	var b strings.Builder
	escape := strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`).Replace
	options := func(flags []cli.Flag, known string) {
		for _, o := range optionsOf(flags) {
			if strings.Contains(known, o.names[0]) {
				continue
			}
			value := ""
			if o.value != "" {
				value = " *" + escape(o.value) + "*"
			}
			usage := escape(o.usage)
			if o.byDefault != "" {
				usage += " (default: " + o.byDefault + ")"
			}
			for _, variable := range o.environment {
				usage += escape(" [$" + variable + "]")
			}
			fmt.Fprintf(&b, "**%s**%s\n:   %s\n\n", strings.Join(o.names, "**, **"), value, usage)
		}
	}
	what, codes, _ := strings.Cut(app.Description, "\n\nExit codes")
	fmt.Fprintf(&b, "vespene-autoscale 8 \"\" \"vespene-autoscale\" \"System Administration\"\n===\n\n# NAME\n\n%s "+
		"\\- %s\n\n# SYNOPSIS\n\n", app.Name, app.Usage)
	for line := range strings.SplitSeq(app.UsageText, "\n") {
		name, rest, _ := strings.Cut(line, " ")
		fmt.Fprintf(&b, "**%s** %s\n\n", name, strings.ReplaceAll(rest, "|", " | "))
	}
	fmt.Fprintf(&b, "# DESCRIPTION\n\n%s\n\n# OPTIONS\n\n", what)
	options(app.Flags, "")
	fmt.Fprintf(&b, "# COMMANDS\n\nThe options of a command stand behind it. Those that are described above have the "+
		"same meaning.\n\n")
	for _, command := range app.Commands {
		fmt.Fprintf(&b, "### %s: %s\n\n%s\n\n", command.Name, command.Usage, command.Description)
		fmt.Fprintf(&b, "Options: %s\n\n", words(command.Flags))
		options(command.Flags, words(app.Flags))
	}
	fmt.Fprintf(&b, "# EXIT STATUS\n\nExit codes%s\n\n",
		regexp.MustCompile(`(?m)^ *(\S+)  (.*)$`).ReplaceAllString(codes, "\n**$1**\n:   $2\n"))
	b.WriteString(`# FILES

**` + escape(credentialFile) + `**
:   the database's address, postgres://USER:PASSWORD@HOST/NAME; mode 0640, group vespene\-autoscale. ` +
		`Under systemd it ` +
		`must exist; where it is empty, the PG\* variables count.

**/etc/vespene-autoscale/environment**
:   variables for the service: those of the options above, and what the pools' commands need

**/var/lib/vespene-autoscale/state.db**
:   what was done when; beside it, a lock of each pool

# EXAMPLES

What would be done now, and why:

    sudo -u vespene-autoscale vespene-autoscale --dry-run

Size one pool at once:

    sudo -u vespene-autoscale vespene-autoscale --force --queue linux

What is wrong, before it goes wrong:

    sudo -u vespene-autoscale vespene-autoscale check

# SEE ALSO

systemd.timer(5), crontab(5), journalctl(1); the manual in /usr/share/doc/vespene\-autoscale
`)
	cli.MarkdownDocTemplate = b.String()
	page, err := app.ToManWithSection(8)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

const generated = "made of the program's options (TestGenerated)"

// words are the names of the options.
func words(flags []cli.Flag) string {
	var all []string
	for _, o := range optionsOf(flags) {
		all = append(all, o.names...)
	}
	return strings.Join(all, " ")
}

func bashCompletion(app *cli.App) string {
	var names, files, values []string
	var cases strings.Builder
	every := slices.Clone(app.Flags)
	for _, command := range app.Commands {
		names, every = append(names, command.Name), append(every, command.Flags...)
		fmt.Fprintf(&cases, "    %s) options='%s' ;;\n", command.Name, words(command.Flags))
	}
	for _, o := range optionsOf(every) {
		switch {
		case o.file:
			files = append(files, o.names...)
		case o.value != "" && o.value != "FORMAT":
			values = append(values, o.names...)
		}
	}
	pattern := func(names []string) string {
		slices.Sort(names)
		return strings.Join(slices.Compact(names), " | ")
	}
	return `# bash completion for vespene-autoscale, ` + generated + `
_vespene_autoscale() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= word options
    if [[ $cur == = ]]; then cur=; fi
    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in ` + strings.Join(names, " | ") + `) command=$word ;; esac
    done
    case $prev in
    --output) COMPREPLY=($(compgen -W 'text json' -- "$cur")) && return ;;
    ` + pattern(files) + `)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    ` + pattern(values) + `) return ;;
    esac
    case $command in
` + cases.String() + `    *) options='` + strings.Join(names, " ") + " " + words(app.Flags) + `' ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
}
complete -F _vespene_autoscale vespene-autoscale
`
}

func zshCompletion(app *cli.App) string {
	escape := strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace
	arguments := func(flags []cli.Flag) string {
		var b strings.Builder
		for _, o := range optionsOf(flags) {
			for _, name := range o.names {
				many, equals, value := "", "", ""
				if o.many {
					many = "*"
				}
				if o.value != "" {
					action := " "
					if o.file {
						action = "_files"
					} else if o.value == "FORMAT" {
						action = "(text json)"
					}
					value = ":" + o.value + ":" + action
					if len(name) > 2 {
						equals = "="
					}
				}
				fmt.Fprintf(&b, " \\\n        '%s%s%s[%s]%s'", many, name, equals, escape(o.short()), value)
			}
		}
		return b.String()
	}
	var commands, cases strings.Builder
	for _, command := range app.Commands {
		fmt.Fprintf(&commands, " '%s:%s'", command.Name, escape(command.Usage))
		fmt.Fprintf(&cases, "    %s) _arguments%s ;;\n", command.Name, arguments(command.Flags))
	}
	return `#compdef vespene-autoscale
# zsh completion for vespene-autoscale, ` + generated + `
_vespene-autoscale() {
    local curcontext=$curcontext state line ret=1
    local -a commands=(` + strings.TrimSpace(commands.String()) + `)
    _arguments -C '1:command:->command' '*::option:->options'` + arguments(app.Flags) + ` && ret=0
    case $state in
    command) _describe command commands && ret=0 ;;
    options)
    case $line[1] in
` + cases.String() + `    esac && ret=0 ;;
    esac
    return ret
}
_vespene-autoscale "$@"
`
}

// fishCompletion is urfave's, which takes a name of one letter for a long one, offers files
// beside the commands, and does not know what --output takes.
func fishCompletion(t *testing.T, app *cli.App) string {
	text, err := app.ToFishCompletion()
	if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer(" -l q ", " -s q ", "complete -r -c", "complete -f -c", " -l output -r ",
		" -l output -r -a 'text json' ", "`", "", "fish shell completion\n", "fish shell completion, "+generated+
			"\n").Replace(text)
	return regexp.MustCompile(`(?m) (\(|\[).*'$|;.*'$`).ReplaceAllString(text, "'")
}

// TestCompletions: each shell takes its completion, and completes.
func TestCompletions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ shell, script, want string }{
		{"bash", `. packaging/completion/vespene-autoscale.bash; complete_words() { COMP_WORDS=("$@"); ` +
			`COMP_CWORD=$(($# - 1)); COMPREPLY=(); _vespene_autoscale; echo "${COMPREPLY[@]}"; }
			complete_words vespene-autoscale st; complete_words vespene-autoscale --da; complete_words ` +
			`vespene-autoscale history --si
			complete_words vespene-autoscale status --for; complete_words vespene-autoscale --output = j`,
			"status\n--database\n--since\n\njson\n"},
		{"fish", `source packaging/completion/vespene-autoscale.fish
			for line in 'vespene-autoscale st' 'vespene-autoscale --dat' 'vespene-autoscale history --si' ` +
			`'vespene-autoscale status --for' 'vespene-autoscale --output j'
				complete -C $line | cut -f1 | string join ' '
			end; true`, "status\n--database\n--since\njson\n"},
		{"zsh", `zsh -n packaging/completion/_vespene-autoscale && echo good`, "good\n"},
	} {
		path, err := exec.LookPath(test.shell)
		need(t, test.shell, err == nil)
		got, err := exec.Command(path, "-c", test.script).CombinedOutput()
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v, %q, want %q", test.shell, err, got, test.want)
		}
	}
}

// TestManualPage: man takes the page without a complaint, and it has every option and exit code.
func TestManualPage(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("man")
	need(t, "man", err == nil)
	cmd := exec.Command("man", "--warnings", "-l", "packaging/vespene-autoscale.8")
	cmd.Env = append(os.Environ(), "MANWIDTH=200", "LC_ALL=C.UTF-8", "MANROFFOPT=-c")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	page, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("man: %v %s", err, &complaints)
	}
	want := []string{"VESPENE_AUTOSCALE_METRICS_FILE", "--since DURATION", "check: look", "128+n", "     78     "}
	for _, o := range optionsOf(newApp(nil, func(job) cli.ActionFunc { return nil }).Flags) {
		want = append(want, o.names...)
	}
	for _, text := range want {
		if !strings.Contains(string(page), text) {
			t.Errorf("no %q in the manual page", text)
		}
	}
}
