package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		arch string
		env  string
	}{
		{"x86_64", "GOARCH=amd64 GOAMD64=v1"},
		{"i386_pentium4", "GOARCH=386 GO386=sse2"},
		{"i386_pentium-mmx", "GOARCH=386 GO386=softfloat"},
		{"aarch64_generic", "GOARCH=arm64 GOARM64=v8.0"},
		{"aarch64_cortex-a53", "GOARCH=arm64 GOARM64=v8.0"},
		{"aarch64_cortex-a72", "GOARCH=arm64 GOARM64=v8.0"},
		{"aarch64_cortex-a76", "GOARCH=arm64 GOARM64=v8.2"},
		{"arm_xscale", "GOARCH=arm GOARM=5"},
		{"arm_cortex-a9", "GOARCH=arm GOARM=5"},
		{"arm_arm1176jzf-s_vfp", "GOARCH=arm GOARM=6"},
		{"arm_cortex-a9_vfpv3-d16", "GOARCH=arm GOARM=7"},
		{"arm_cortex-a9_neon", "GOARCH=arm GOARM=7"},
		{"arm_cortex-a7_neon-vfpv4", "GOARCH=arm GOARM=7"},
		{"mips_24kc", "GOARCH=mips GOMIPS=softfloat"},
		{"mipsel_24kc", "GOARCH=mipsle GOMIPS=softfloat"},
		{"mipsel_24kc_24kf", "GOARCH=mipsle GOMIPS=softfloat"},
		{"mipsel_74kc", "GOARCH=mipsle GOMIPS=softfloat"},
		{"mips64_octeonplus", "GOARCH=mips64 GOMIPS64=softfloat"},
		{"mips64el_mips64r2", "GOARCH=mips64le GOMIPS64=softfloat"},
		{"riscv64_generic", "GOARCH=riscv64 GORISCV64=rva20u64"},
		{"loongarch64_generic", "GOARCH=loong64"},
	} {
		got, err := newTarget(c.arch)
		if err != nil {
			t.Errorf("%s: %v", c.arch, err)
		}
		if env := strings.Join(got.env, " "); env != c.env || got.arch != c.arch {
			t.Errorf("%s: got %s for %s, want %s", c.arch, env, got.arch, c.env)
		}
	}
}

func TestTargetRefused(t *testing.T) {
	for _, arch := range []string{"powerpc_464fp", "powerpc64_e5500", "armeb_xscale", "mipsel", "amd64", ""} {
		if got, err := newTarget(arch); err == nil {
			t.Errorf("%q: got %v, want an error", arch, got)
		}
	}
}

// All architectures are ones that Go knows, each is there once.
func TestAllTargets(t *testing.T) {
	known, err := exec.Command("go", "tool", "dist", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	ports := strings.Fields(string(known))
	targets, err := parseTargets([]string{"all"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, target := range targets {
		names = append(names, target.arch)
		if port := "linux/" + strings.TrimPrefix(target.env[0], "GOARCH="); !slices.Contains(ports, port) {
			t.Errorf("%s: Go has no port %s", target.arch, port)
		}
	}
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) || len(names) != len(architectures) {
		t.Errorf("%d architectures, %d of them different, out of %d", len(names), len(unique), len(architectures))
	}
}
