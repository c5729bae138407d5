package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// testAPKKey is the key of the examples in RFC 6979, A.2.5.
func testAPKKey(t *testing.T) *apkKey {
	t.Helper()
	secret, err := hex.DecodeString("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ecdh.P256().NewPrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseAPKKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The signatures of RFC 6979, A.2.5, with SHA-512.
func TestAPKSignature(t *testing.T) {
	key := testAPKKey(t)
	for _, c := range []struct{ message, r, s string }{
		{
			"sample",
			"8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
			"2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
		},
		{
			"test",
			"461D93F31B6540894788FD206C07CFA0CC35F46FA3C91816FFF1040AD1581A04",
			"39AF9F15DE0DB8D97E72719C74820D304CE5226E32DEDAE67519E840D1194E55",
		},
	} {
		der, err := key.sign([]byte(c.message))
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(der, &got); err != nil || len(rest) > 0 {
			t.Fatalf("%q: %v, %d bytes too many", c.message, err, len(rest))
		}
		if r, s := fmt.Sprintf("%064X", got.R), fmt.Sprintf("%064X", got.S); r != c.r || s != c.s {
			t.Errorf("%q: got %s %s, want %s %s", c.message, r, s, c.r, c.s)
		}
	}
}

// Signatures of any key and message verify.
func TestAPKSignatureVerifies(t *testing.T) {
	for i := range 50 {
		key, err := newAPKKey()
		if err != nil {
			t.Fatal(err)
		}
		message := []byte(fmt.Sprint("message ", i))
		der, err := key.sign(message)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum512(message)
		if !ecdsa.VerifyASN1(&key.private.PublicKey, sum[:], der) {
			t.Errorf("the signature of %q does not verify", message)
		}
	}
}

// The forms in which openssl writes private keys, with what it puts before them.
func TestAPKKeyForms(t *testing.T) {
	key := testAPKKey(t)
	old, err := key.secretPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"comment":     "untrusted comment: Local build key\n" + string(old),
		"named curve": "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(old),
		"alone":       string(old),
	} {
		got, err := parseAPKKey([]byte(text))
		if err != nil || !got.private.Equal(key.private) {
			t.Errorf("%s: got another key, or %v", name, err)
		}
	}
}

func TestAPKKeyRefused(t *testing.T) {
	encode := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := testAPKKey(t).publicPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"P-384": encode(p384), "Ed25519": encode(ed), "public key": public, "empty": nil,
	} {
		if _, err := parseAPKKey(text); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

// A pair of keys and a signature that OpenWrt's usign made.
const (
	usignSecret = `untrusted comment: test key
RWRCSwAAAACS0h95uABxjrK+cBT1BJd7ujlKQz6B/rwmJ9XZaT2dWMBl3t3YGH5wlZdVEbeJTVgI+x/8KM7kscBWzjCEdAVLAFOS/uwNDF9xJ5r6jLvoLbr3OkzW9kzvjD2fIDc4slw=
`
	usignPublic    = "RWQmJ9XZaT2dWABTkv7sDQxfcSea+oy76C269zpM1vZM74w9nyA3OLJc"
	usignMessage   = "Package: loadbalance\n"
	usignSignature = `untrusted comment: signed by key 2627d5d9693d9d58
RWQmJ9XZaT2dWDBlCx6YT6O3NQAI1DGD3oBeXGf3VRCBEyQsRMo3UBbRvxVmKQ879MCOq/LpW0ZGPU23gw2PQf41iiyR1D+PkAA=
`
)

func testUsignKey(t *testing.T) *usignKey {
	t.Helper()
	key, err := parseUsignKey([]byte(usignSecret))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestUsign(t *testing.T) {
	key := testUsignKey(t)
	if got := string(key.sign([]byte(usignMessage))); got != usignSignature {
		t.Errorf("signature: got\n%s\nusign makes\n%s", got, usignSignature)
	}
	want := "untrusted comment: public key 2627d5d9693d9d58\n" + usignPublic + "\n"
	if got := string(key.publicText()); got != want {
		t.Errorf("public key: got\n%s\nwant\n%s", got, want)
	}
	_, secret, _ := strings.Cut(usignSecret, "\n")
	want = "untrusted comment: private key 2627d5d9693d9d58\n" + secret
	if got := string(key.secretText()); got != want {
		t.Errorf("secret key: got\n%s\nwant\n%s", got, want)
	}
}

func TestUsignKeyRefused(t *testing.T) {
	change := func(at int) string {
		secret := bytes.Clone(testUsignKey(t).secret)
		secret[at] ^= 1
		return "comment\n" + base64.StdEncoding.EncodeToString(secret)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":      {"", "no secret key"},
		"public key": {"comment\n" + usignPublic, "no secret key"},
		"other kind": {change(1), "no secret key"},
		"no base64":  {"comment\n{}", "no secret key"},
		"password":   {change(usignRounds + 3), "has a password"},
		"damaged":    {change(usignSeed), "damaged"},
	} {
		if _, err := parseUsignKey([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// verifyUsign checks a signature by the public formats of key and signature.
func verifyUsign(public, message, signature []byte) error {
	fields := func(text []byte, size int) ([]byte, error) {
		comment, line, _ := strings.Cut(string(text), "\n")
		fields, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
		if err == nil && (!strings.HasPrefix(comment, "untrusted comment: ") || len(fields) != size || string(fields[:2]) != "Ed") {
			err = fmt.Errorf("not of usign: %s", text)
		}
		return fields, err
	}
	key, err := fields(public, 2+8+ed25519.PublicKeySize)
	if err != nil {
		return err
	}
	sig, err := fields(signature, 2+8+ed25519.SignatureSize)
	if err != nil {
		return err
	}
	if !bytes.Equal(key[2:10], sig[2:10]) {
		return errors.New("signed by another key")
	}
	if !ed25519.Verify(key[10:], message, sig[10:]) {
		return errors.New("wrong signature")
	}
	return nil
}

func TestMakeKeys(t *testing.T) {
	umask := syscall.Umask(0o022) // the usual one: others may read the public keys
	t.Cleanup(func() { syscall.Umask(umask) })
	dir := filepath.Join(t.TempDir(), "keys")
	if err := makeKeys(dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		".": 0o700, "key-build": 0o600, "key-build.pub": 0o644, "private-key.pem": 0o600, "public-key.pem": 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want mode %o", name, info.Mode(), err, want)
		}
	}
	k, err := readKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	message := []byte("message")
	if err := verifyUsign(read("key-build.pub"), message, k.usign.sign(message)); err != nil {
		t.Error(err)
	}
	if sum := sha512.Sum512(k.usign.private()); !bytes.Equal(k.usign.secret[usignChecksum:usignFingerprint], sum[:8]) {
		t.Error("key-build: wrong checksum")
	}
	signed, err := newDatabase().encode(schemaIndex, k.apk, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := decodeFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.verify(read("public-key.pem")); err != nil {
		t.Error(err)
	}
	checkKept(t, dir, read)
}

// checkKept checks that keys are never replaced.
func checkKept(t *testing.T, dir string, read func(name string) []byte) {
	t.Helper()
	before := slices.Concat(read("key-build"), read("private-key.pem"))
	if err := makeKeys(dir, io.Discard); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want an error because there are keys", err)
	}
	if !bytes.Equal(slices.Concat(read("key-build"), read("private-key.pem")), before) {
		t.Error("the keys were replaced")
	}
}

func TestKeysMissing(t *testing.T) {
	if k, err := readKeys(""); err != nil || k != (keys{}) {
		t.Errorf("without a folder: got %v, %v, want no keys", k, err)
	}
	dir := t.TempDir()
	if _, err := readKeys(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that key-build is missing", err)
	}
	writeFile(t, dir, file{"key-build", []byte("x")})
	if _, err := readKeys(dir); err == nil || !strings.Contains(err.Error(), "key-build") {
		t.Errorf("got %v, want an error that names key-build", err)
	}
	writeFile(t, dir, file{"key-build", []byte(usignSecret)})
	if _, err := readKeys(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "private-key.pem") {
		t.Errorf("got %v, want that private-key.pem is missing", err)
	}
	writeFile(t, dir, file{"private-key.pem", []byte("x")})
	if _, err := readKeys(dir); err == nil || !strings.Contains(err.Error(), "private-key.pem: no private key") {
		t.Errorf("got %v, want an error that names private-key.pem", err)
	}
}
