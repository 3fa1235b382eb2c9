package main

import (
	"go/ast"
	gobuild "go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// imports stands in for every imported package: only what package main declares is asked about.
type imports map[string]*types.Package

func (all imports) Import(name string) (*types.Package, error) {
	if all[name] == nil {
		all[name] = types.NewPackage(name, path.Base(name))
		all[name].MarkComplete()
	}
	return all[name], nil
}

// arrows returns what each file of package main uses of which other: file → other file → a name.
func arrows(t *testing.T) map[string]map[string]string {
	t.Helper()
	directory, err := gobuild.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	fset, info := token.NewFileSet(), &types.Info{Uses: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	all := map[string]map[string]string{}
	for _, name := range directory.GoFiles {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files, all[name] = append(files, file), map[string]string{}
	}
	config := types.Config{Importer: imports{}, Error: func(error) {}} // what imported packages have is missed
	self, _ := config.Check("main", fset, files, info)
	for id, object := range info.Uses {
		variable, _ := object.(*types.Var)
		_, isFunction := object.(*types.Func)
		isOfFile := object.Parent() == self.Scope() || isFunction || variable != nil && variable.IsField()
		if object.Pkg() == self && isOfFile {
			if from, to := fset.File(id.Pos()).Name(), fset.File(object.Pos()).Name(); from != to {
				all[from][to] = max(all[from][to], object.Name())
			}
		}
	}
	return all
}

// TestHouse: no two files use each other and none stand in a cycle, so that each can be read with those that it stands
// on alone; and CONTRIBUTING.md's table says which those are.
func TestHouse(t *testing.T) {
	all := arrows(t)
	seen := map[string]bool{}
	var visit func(from string, by []string)
	visit = func(from string, by []string) {
		if i := slices.Index(by, from); i >= 0 {
			t.Errorf("a cycle: %s → %s (%s)", strings.Join(by[i:], " → "), from, all[by[len(by)-1]][from])
			return
		}
		if seen[from] {
			return
		}
		seen[from] = true
		for to, name := range all[from] {
			if back := all[to][from]; back != "" && from < to {
				t.Errorf("%s uses %s of %s, which uses %s of it", from, name, to, back)
			}
			visit(to, append(slices.Clip(by), from))
		}
	}
	table := map[string]string{}
	row := regexp.MustCompile(`(?m)^\| (\w+\.go) \|.*\| ([^|]*) \|$`)
	for _, match := range row.FindAllStringSubmatch(string(contentOf(t, "CONTRIBUTING.md")), -1) {
		table[match[1]] = match[2]
	}
	delete(all, "report.go") // until the simulation has a view of its own
	delete(table, "report.go")
	for from, uses := range all {
		visit(from, nil)
		want := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(uses)), ", "), ".go", "")
		if got, has := table[from]; !has || got != want && (got != "nothing" || want != "") {
			t.Errorf("CONTRIBUTING.md says that %s stands on %q, and it does on: %s", from, got, want)
		}
	}
	if len(table) != len(all) {
		t.Errorf("CONTRIBUTING.md's table has %v", slices.Sorted(maps.Keys(table)))
	}
}

// TestForm: every Go file can be read without scrolling sideways; and what is no test, without losing the thread.
func TestForm(t *testing.T) {
	t.Parallel()
	const widest, longestFile, longestFunction = 120, 600, 80
	files := 0
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" {
			return err
		}
		files++
		number := 0
		for line := range strings.Lines(string(contentOf(t, name))) {
			number++
			line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    ")
			if columns := utf8.RuneCountInString(line); columns > widest {
				t.Errorf("%s:%d: %d columns, of %d at most", name, number, columns, widest)
			}
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if number > longestFile {
			t.Errorf("%s:%d: %d lines, of %d at most", name, number, number, longestFile)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				first, last := fset.Position(function.Pos()).Line, fset.Position(function.End()).Line
				if lines := last - first + 1; lines > longestFunction {
					t.Errorf("%s:%d: %s has %d lines, of %d at most", name, first, function.Name,
						lines, longestFunction)
				}
			}
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("%d files, %v", files, err)
	}
}
