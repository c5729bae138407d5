package main

import (
	"fmt"
	"slices"
	"strings"
)

// architectures are those of OpenWrt 23.05 to 25.12 that Go can build for.
// Missing are powerpc and big-endian arm, which Go does not know, and
// arm_fa526, an ARMv4 processor: Go needs ARMv5.
var architectures = []string{
	"aarch64_cortex-a53", "aarch64_cortex-a72", "aarch64_cortex-a76", "aarch64_generic",
	"arm_arm1176jzf-s_vfp", "arm_arm926ej-s", "arm_cortex-a15_neon-vfpv4", "arm_cortex-a5_vfpv4",
	"arm_cortex-a7", "arm_cortex-a7_neon-vfpv4", "arm_cortex-a7_vfpv4", "arm_cortex-a8_vfpv3",
	"arm_cortex-a9", "arm_cortex-a9_neon", "arm_cortex-a9_vfpv3-d16", "arm_xscale",
	"i386_pentium-mmx", "i386_pentium4",
	"loongarch64_generic",
	"mips64_mips64r2", "mips64_octeonplus", "mips64el_mips64r2",
	"mips_24kc", "mips_4kec", "mips_mips32",
	"mipsel_24kc", "mipsel_24kc_24kf", "mipsel_74kc", "mipsel_mips32",
	"riscv64_generic", "riscv64_riscv64",
	"x86_64",
}

// target is an OpenWrt architecture with the Go compiler's settings for it.
type target struct {
	arch string
	env  []string // NAME=VALUE
}

// parseTargets turns names of architectures, or "all", into targets.
func parseTargets(names []string) ([]target, error) {
	if slices.Contains(names, "all") {
		names = architectures
	}
	targets := make([]target, 0, len(names))
	for _, name := range names {
		t, err := newTarget(name)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// newTarget chooses the settings as lang/golang/golang-values.mk of OpenWrt's
// packages feed does, from the name alone: FAMILY_CPU or FAMILY_CPU_FPU. An
// architecture that is not in the list is built as its family asks for. All
// mips get softfloat, also the few with a floating-point unit (24kf, mips64r2):
// they run it as well, and this program calculates next to nothing.
func newTarget(arch string) (target, error) {
	family, processor, _ := strings.Cut(arch, "_")
	cpu, fpu, _ := strings.Cut(processor, "_")
	if processor == "" {
		return target{}, fmt.Errorf("'%s' is not an architecture of OpenWrt, such as mipsel_24kc or x86_64", arch)
	}
	var env []string
	switch family {
	case "x86":
		env = []string{"GOARCH=amd64", "GOAMD64=v1"}
	case "i386":
		env = []string{"GOARCH=386", "GO386=" + floatX86(cpu)}
	case "aarch64":
		env = []string{"GOARCH=arm64", "GOARM64=" + versionARM64(cpu)}
	case "arm":
		env = []string{"GOARCH=arm", "GOARM=" + versionARM(fpu)}
	case "mips", "mipsel":
		env = []string{"GOARCH=" + strings.Replace(family, "el", "le", 1), "GOMIPS=softfloat"}
	case "mips64", "mips64el":
		env = []string{"GOARCH=" + strings.Replace(family, "el", "le", 1), "GOMIPS64=softfloat"}
	case "riscv64":
		env = []string{"GOARCH=riscv64", "GORISCV64=rva20u64"}
	case "loongarch64":
		env = []string{"GOARCH=loong64"}
	default:
		return target{}, fmt.Errorf("'%s': Go cannot build for this family of processors", arch)
	}
	return target{arch: arch, env: env}, nil
}

// floatX86 returns GO386 for a processor: by whether it has SSE2.
func floatX86(cpu string) string {
	if cpu == "pentium4" {
		return "sse2"
	}
	return "softfloat"
}

// versionARM returns GOARM for GCC's name of a floating-point unit.
func versionARM(fpu string) string {
	switch fpu {
	case "":
		return "5"
	case "vfp", "vfpv2":
		return "6"
	}
	return "7"
}

// versionARM64 returns GOARM64 for a processor: v8.2 for those known to
// implement it, else the version that every 64-bit one has.
func versionARM64(cpu string) string {
	switch cpu {
	case "cortex-a55", "cortex-a65", "cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78":
		return "v8.2"
	}
	return "v8.0"
}
