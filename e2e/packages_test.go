//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// built are the packages of this checkout.
type built struct {
	files   []string // all of them
	deb     string   // this machine's
	rpm     string
	version string // of the .deb
}

var (
	packagesFolder string // for all tests
	buildPackages  = sync.OnceValues(func() (built, error) {
		folder, err := os.MkdirTemp("", "vespene-packages-")
		if err != nil {
			return built{}, err
		}
		packagesFolder = folder
		return runBuild(".", folder)
	})
)

func removePackages() { os.RemoveAll(packagesFolder) }

// runBuild runs a checkout's packaging/build, with more variables in its environment.
func runBuild(checkout, folder string, variables ...string) (built, error) {
	cmd := exec.Command(filepath.Join(checkout, "packaging/build"), folder)
	cmd.Env = append(os.Environ(), variables...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return built{}, fmt.Errorf("packaging/build: %w, %s", err, output)
	}
	var b built
	for _, pattern := range []string{"*.deb", "*.rpm"} {
		found, _ := filepath.Glob(filepath.Join(folder, pattern))
		b.files = append(b.files, found...)
	}
	for _, file := range b.files {
		switch {
		case strings.HasSuffix(file, "_"+runtime.GOARCH+".deb"):
			b.deb, b.version = file, strings.Split(filepath.Base(file), "_")[1]
		case strings.HasSuffix(file, map[string]string{"amd64": ".x86_64.rpm",
			"arm64": ".aarch64.rpm"}[runtime.GOARCH]):
			b.rpm = file
		}
	}
	return b, nil
}

// packages are built once for all tests.
func packages(t testing.TB) built {
	t.Helper()
	for _, program := range []string{"bash", "git", "gzip"} {
		_, err := exec.LookPath(program)
		need(t, program, err == nil)
	}
	_, err := os.Stat(".git")
	need(t, "git's checkout", err == nil)
	b, err := buildPackages()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// printed is what a command prints, which must succeed.
func printed(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v, %s%s", args, err, stdout, &stderr)
	}
	return string(stdout)
}

// sourceArchive unpacks this checkout's files, as they are now, as a source archive would be: without git, elsewhere,
// with other rights.
func sourceArchive(t testing.TB) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "another place")
	for file := range strings.SplitSeq(strings.TrimRight(printed(t, "git", "ls-files", "-z", "--cached", "--others",
		"--exclude-standard"), "\x00"), "\x00") {
		info, err := os.Stat(file)
		if err != nil {
			continue // deleted, and not committed
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), contentOf(t, file), info.Mode()&0o700); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// commitTime is that of the checkout's commit.
func commitTime(t testing.TB) string {
	return "SOURCE_DATE_EPOCH=" + strings.TrimSpace(printed(t, "git", "log", "-1", "--format=%ct"))
}

// packageFiles are the files that a package has besides its documentation, with mode and owner. %s is what Debian and
// the others have in places of their own.
const packageFiles = `-rw-r----- root/vespene-autoscale /etc/vespene-autoscale/database
-rw-r----- root/vespene-autoscale /etc/vespene-autoscale/environment
-rwxr-xr-x root/root /usr/bin/vespene-autoscale
-rw-r--r-- root/root /usr/lib/systemd/system/vespene-autoscale.service
-rw-r--r-- root/root /usr/lib/systemd/system/vespene-autoscale.timer
-rw-r--r-- root/root /usr/share/bash-completion/completions/vespene-autoscale
-rw-r--r-- root/root /usr/share/fish/vendor_completions.d/vespene-autoscale.fish
%s-rw-r--r-- root/root /usr/share/man/man8/vespene-autoscale.8.gz
-rw-r--r-- root/root /usr/share/zsh/%s/_vespene-autoscale
drwxr-xr-x root/root /etc/vespene-autoscale
drwx------ vespene-autoscale/vespene-autoscale /var/lib/vespene-autoscale
`

// TestPackages: one command makes the packages, the same bytes from the same source wherever it lies, with what belongs
// into them.
func TestPackages(t *testing.T) {
	t.Parallel()
	t.Run("reproducible", testReproducible)
	t.Run("contents", testContents)
	t.Run("lintian", testLintian)
	t.Run("installed", testInstalled)
}

func testReproducible(t *testing.T) {
	t.Parallel()
	one := packages(t)
	if len(one.files) != 4 {
		t.Fatalf("%v, want .deb and .rpm for two architectures", one.files)
	}
	another, err := runBuild(sourceArchive(t), t.TempDir(),
		"VERSION="+one.version, commitTime(t), "GOFLAGS=-trimpath=false", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8")
	if err != nil {
		t.Fatal(err)
	}
	sums := func(b built) (all string) {
		for _, file := range b.files {
			all += fmt.Sprintf("%x %s\n", sha256.Sum256(contentOf(t, file)), filepath.Base(file))
		}
		return all
	}
	if sums(one) != sums(another) {
		t.Errorf("the checkout's are\n%sthe source archive's\n%s", sums(one), sums(another))
	}
}

func testContents(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"rpm", "dpkg-deb"} {
		_, err := exec.LookPath(program)
		need(t, program, err == nil)
	}
	programs := map[string]string{} // their checksums, by architecture
	for _, file := range packages(t).files {
		if !strings.HasSuffix(file, ".deb") {
			continue
		}
		root := t.TempDir()
		printed(t, "dpkg-deb", "-x", file, root)
		arch := strings.TrimSpace(printed(t, "dpkg-deb", "-f", file, "Architecture"))
		executable, err := elf.Open(filepath.Join(root, "usr/bin/vespene-autoscale"))
		if err != nil {
			t.Fatal(err)
		}
		defer executable.Close()
		want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
		libraries, _ := executable.ImportedLibraries()
		if executable.Machine != want || !strings.HasSuffix(file, "_"+arch+".deb") || len(libraries) > 0 {
			t.Errorf("%s: for %s, a program for %v with the libraries %v", file, arch, executable.Machine, libraries)
		}
		programs[arch] = fmt.Sprintf("%x", sha256.Sum256(contentOf(t,
			filepath.Join(root, "usr/bin/vespene-autoscale"))))
		for _, unit := range []string{"vespene-autoscale.service", "vespene-autoscale.timer"} {
			if !bytes.Equal(contentOf(t, filepath.Join(root, "usr/lib/systemd/system", unit)), contentOf(t, unit)) {
				t.Errorf("%s has another %s", file, unit)
			}
		}
		if database := contentOf(t, root+credentialFile); len(database) > 0 {
			t.Errorf("%s has a database: %s", file, database)
		}
		var list strings.Builder
		for line := range strings.Lines(printed(t, "dpkg-deb", "-c", file)) {
			if f := strings.Fields(line); len(f) == 6 {
				fmt.Fprintf(&list, "%s %s %s\n", f[0], f[1], strings.TrimRight(f[5][1:], "/"))
			}
		}
		compareFiles(t, file, list.String(), fmt.Sprintf(packageFiles,
			"-rw-r--r-- root/root /usr/share/lintian/overrides/vespene-autoscale\n",
			"vendor-completions"))
		if conffiles := printed(t, "dpkg-deb", "-I", file,
			"conffiles"); conffiles != "/etc/vespene-autoscale/database\n/etc/vespene-autoscale/environment\n" {
			t.Errorf("%s has the conffiles\n%s", file, conffiles)
		}
	}
	for _, file := range packages(t).files {
		if !strings.HasSuffix(file, ".rpm") {
			continue
		}
		query := func(format string) string { return printed(t, "rpm", "-qp", "--qf", format, file) }
		arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[query("%{ARCH}")]
		if sum := programs[arch]; sum == "" ||
			!strings.Contains(query(`[%{FILEDIGESTS} %{FILENAMES}\n]`), sum+" /usr/bin/vespene-autoscale\n") {
			t.Errorf("%s has not the program of the .deb for %s", file, arch)
		}
		compareFiles(t, file, query(`[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]`),
			fmt.Sprintf(packageFiles, "", "site-functions"))
		for _, name := range []string{"database", "environment"} {
			if flags := query(`[%{FILEFLAGS:fflags} %{FILENAMES}\n]`); !strings.Contains(flags,
				"cn /etc/vespene-autoscale/"+name+"\n") {
				t.Errorf("%s: %s is not config(noreplace):\n%s", file, name, flags)
			}
		}
	}
	if len(programs) != 2 {
		t.Errorf("programs for %v, want two architectures", programs)
	}
}

// compareFiles compares a package's files with those it is to have; a folder that is not ours alone does not count, and
// of the documentation only that it is there.
func compareFiles(t *testing.T, file, got, want string) {
	t.Helper()
	var files []string
	documents := 0
	for line := range strings.Lines(got) {
		switch {
		case strings.Contains(line, " /usr/share/doc/"):
			documents++
		case line[0] == 'd' &&
			!regexp.MustCompile(` /(etc|var/lib)/vespene-autoscale$`).MatchString(strings.TrimSpace(line)):
		default:
			files = append(files, line)
		}
	}
	wanted := strings.SplitAfter(strings.TrimRight(want, "\n")+"\n", "\n")
	wanted = wanted[:len(wanted)-1]
	slices.Sort(files)
	slices.Sort(wanted)
	if !slices.Equal(files, wanted) {
		t.Errorf("%s has\n%swant\n%s", file, strings.Join(files, ""), strings.Join(wanted, ""))
	}
	for _, document := range []string{"README.md", "CHANGELOG.md", "SECURITY.md", "docs/autoscaling.md",
		"docs/plugins.md", "copyright", "linked-modules.gz"} {
		if !strings.Contains(got, "-rw-r--r-- root/root /usr/share/doc/vespene-autoscale/"+document+"\n") {
			t.Errorf("%s has no %s", file, document)
		}
	}
}

// testLintian: Debian's checker of packages finds no error.
func testLintian(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("lintian")
	need(t, "lintian", err == nil)
	for _, file := range packages(t).files {
		if strings.HasSuffix(file, ".deb") {
			if findings := printed(t, "lintian", "--fail-on", "error", file); findings != "" {
				t.Log(findings)
			}
		}
	}
}

// later builds the packages of a later version, which git's tag gives, whose environment file and timer are others.
func later(t *testing.T) built {
	t.Helper()
	source := sourceArchive(t)
	environment := filepath.Join(source, "packaging/environment")
	writeFile(t, environment, append(contentOf(t, environment), "# later\n"...))
	timer := filepath.Join(source, timerUnit)
	writeFile(t, timer, bytes.Replace(contentOf(t, timer), []byte("OnCalendar=minutely"), []byte("OnCalendar=hourly"),
		1))
	for _, args := range [][]string{{"init", "-q"}, {"add", "."},
		{"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "later"},
		{"tag", "v99.1-rc2"}} {
		printed(t, append([]string{"git", "-C", source}, args...)...)
	}
	b, err := runBuild(source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if b.version != "99.1~rc2" {
		t.Errorf("of the tag v99.1-rc2, the version is %s", b.version)
	}
	return b
}

// testInstalled: what dpkg and rpm do with the packages, on a machine with systemd.
func testInstalled(t *testing.T) {
	t.Parallel()
	need(t, "root, to boot systemd", os.Geteuid() == 0)
	newer := later(t)
	t.Run("dpkg", func(t *testing.T) { t.Parallel(); testDpkg(t, newer) })
	t.Run("rpm", func(t *testing.T) { t.Parallel(); testRPM(t, newer) })
}

// folders are what the package and its user have of their own, with rights, owners and contents; not what a package
// manager laid beside an edited file.
func (b *box) folders(t testing.TB, folders ...string) string {
	t.Helper()
	return b.must(t, "sh", "-c",
		`find "$@" ! -name '*.dpkg-*' ! -name '*.rpmnew' -printf '%M %u/%g %p\n' -type f -exec sha256sum {} \; | sort`,
		"sh", folders[0], folders[len(folders)-1])
}

// timer says whether the timer is enabled and running.
func (b *box) timer(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(b.run(t, "systemctl", "is-enabled", timerUnit).stdout) + " " +
		strings.TrimSpace(b.run(t, "systemctl", "is-active", timerUnit).stdout)
}

// asInstalled are the folders of a package that was just installed.
const asInstalled = `-rw-r----- root/vespene-autoscale /etc/vespene-autoscale/database
-rw-r----- root/vespene-autoscale /etc/vespene-autoscale/environment
drwx------ vespene-autoscale/vespene-autoscale /var/lib/vespene-autoscale
drwxr-xr-x root/root /etc/vespene-autoscale
`

// isInstalled checks what an installation makes, and that it starts nothing.
func (b *box) isInstalled(t *testing.T) {
	t.Helper()
	got := regexp.MustCompile(`(?m)^[0-9a-f]{64} .*\n`).ReplaceAllString(b.folders(t, configuration, stateDirectory),
		"")
	if got != asInstalled {
		t.Errorf("installed are\n%swant\n%s", got, asInstalled)
	}
	if user := b.must(t, "getent", "passwd", "vespene-autoscale"); !strings.HasSuffix(user,
		":/var/lib/vespene-autoscale:/usr/sbin/nologin\n") {
		t.Errorf("the user is %s", user)
	}
	if timer := b.timer(t); timer != "disabled inactive" {
		t.Errorf("the timer is %s", timer)
	}
}

// testDpkg: installing makes user, folders and a disabled timer; an upgrade keeps the configuration, the state, the
// running timer and a run that goes on; removing ends these and keeps the others; purging keeps nothing.
func testDpkg(t *testing.T, newer built) {
	b := newBox(t)
	b.install(t, packages(t).deb)
	b.isInstalled(t)
	if version := b.must(t, "vespene-autoscale", "--version"); !strings.HasPrefix(version,
		"vespene-autoscale version "+packages(t).version+" go") {
		t.Errorf("its version is %s", version)
	}
	b.must(t, "dpkg", "--purge", "vespene-autoscale")

	// From here on it is one that is used.
	s := newServiceIn(t, b, "mkdir -p plans; echo >plans/terraform.tfstate; exec sleep 1000")
	writeFile(t, s.path(configuration+"/environment"), []byte("VESPENE_AUTOSCALE_TIMEOUT=10m\n"))
	s.must(t, "chmod", "0600", configuration+"/environment")
	s.must(t, "systemctl", "enable", "--now", timerUnit)
	s.must(t, "systemctl", "start", "--no-block", serviceUnit)
	waitFor(t, func() bool { return s.file(stateDirectory+"/plans/terraform.tfstate") != "" })
	run := s.must(t, "systemctl", "show", "-p", "MainPID", serviceUnit)
	before := s.folders(t, configuration, stateDirectory)

	s.install(t, newer.deb, "--force-confdef") // as for who presses return at dpkg's question about the edited file
	if version := s.must(t, "dpkg-query", "-W", "-f", "${Version}", "vespene-autoscale"); version != newer.version {
		t.Errorf("version %s after the upgrade", version)
	}
	if after := s.folders(t, configuration, stateDirectory); after != before {
		t.Errorf("before the upgrade\n%safter it\n%s", before, after)
	}
	if timer := s.timer(t); timer != "enabled active" {
		t.Errorf("the timer is %s after the upgrade", timer)
	}
	if shown := s.must(t, "systemctl", "show", "-p", "TimersCalendar", timerUnit); !strings.Contains(shown,
		"OnCalendar=*-*-* *:00:00") {
		t.Errorf("the upgraded timer is that of before: %s", shown)
	}
	if still := s.must(t, "systemctl", "show", "-p", "MainPID", serviceUnit); still != run || run == "MainPID=0\n" {
		t.Errorf("the run was %s, and is %s after the upgrade", run, still)
	}

	kept := s.folders(t, configuration)
	s.must(t, "dpkg", "--remove", "vespene-autoscale")
	if left := s.run(t, "pgrep", "-u", "vespene-autoscale", "-a"); left.code != 1 {
		t.Errorf("running after the removal: %s", left.stdout)
	}
	if timer := s.timer(t); strings.Contains(timer, "enabled") || !strings.HasSuffix(timer, " inactive") {
		t.Errorf("the timer is %s after the removal", timer)
	}
	if links := s.must(t, "find", "/etc/systemd/system", "-name", "vespene*"); links != "" {
		t.Errorf("after the removal there is %s", links)
	}
	if after := s.folders(t, configuration); after != kept {
		t.Errorf("before the removal\n%safter it\n%s", kept, after)
	}
	if all := s.evaluations(t); len(all) != 1 || all[0].outcome() != interrupted ||
		s.file(stateDirectory+"/plans/terraform.tfstate") == "" {
		t.Errorf("the state after the removal is %+v", all)
	}

	s.must(t, "dpkg", "--purge", "vespene-autoscale")
	if left := s.run(t, "ls", "-d", configuration, stateDirectory); left.stdout != "" {
		t.Errorf("after the purge there are\n%s", left.stdout)
	}

	// It can be installed again, and where systemd does not run.
	s.must(t, "unshare", "--mount", "sh", "-ec", "mount -t tmpfs tmpfs /run; dpkg -i /mnt/package.deb; dpkg --purge "+
		"vespene-autoscale; dpkg -i /mnt/package.deb")
	s.isInstalled(t)
}

// testRPM: the same of rpm, which keeps the state when the package goes, and an edited file as .rpmsave.
func testRPM(t *testing.T, newer built) {
	_, err := exec.LookPath("rpm")
	need(t, "rpm", err == nil)
	b := newBox(t)
	rpm := func(what, file string) {
		t.Helper()
		writeFile(t, filepath.Join(b.shared, "package.rpm"), contentOf(t, file))
		// dpkg's machine has not its dependencies
		b.must(t, "rpm", "--force-debian", "--nodeps", what, "/mnt/package.rpm")
	}
	rpm("--install", packages(t).rpm)
	b.isInstalled(t)
	for _, name := range []string{"database", "environment"} {
		writeFile(t, b.path(configuration+"/"+name), []byte("PGHOST=edited\n"))
	}
	writeFile(t, filepath.Join(b.shared, "vespene.sql"), contentOf(t, "testdata/vespene.sql"))
	b.must(t, "chmod", "0644", "/mnt/vespene.sql")
	b.must(t, as("vespene-autoscale", "--database", "sqlite:/mnt/vespene.sql")...)
	before := b.folders(t, configuration, stateDirectory)
	rpm("--upgrade", newer.rpm)
	if after := b.folders(t, configuration, stateDirectory); after != before {
		t.Errorf("before the upgrade\n%safter it\n%s", before, after)
	}
	if timer := b.timer(t); timer != "disabled inactive" {
		t.Errorf("the timer is %s after the upgrade", timer)
	}

	b.must(t, "systemctl", "enable", "--now", timerUnit)
	state := b.folders(t, stateDirectory)
	b.must(t, "rpm", "--force-debian", "--erase", "vespene-autoscale")
	if after := b.folders(t, stateDirectory); after != state {
		t.Errorf("before it was erased\n%safter it\n%s", state, after)
	}
	if b.file(configuration+"/database.rpmsave") != "PGHOST=edited\n" {
		t.Error("the edited configuration is lost")
	}
	if timer := b.timer(t); strings.Contains(timer, "enabled") || !strings.HasSuffix(timer, " inactive") {
		t.Errorf("the timer is %s after it was erased", timer)
	}
}
