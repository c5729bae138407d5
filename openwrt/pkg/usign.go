package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
)

// The files of usign, OpenWrt's reimplementation of OpenBSD's signify: a line of
// comment, and a line of base64 with these fields.
//
//	secret key  "Ed" "BK" rounds[4] salt[16] checksum[8] fingerprint[8] seed[32] public[32]
//	public key  "Ed" fingerprint[8] public[32]
//	signature   "Ed" fingerprint[8] signature[64]
//
// Rounds count those of a password; usign knows no passwords, so they are 0.
const (
	usignRounds      = 4
	usignChecksum    = 24
	usignFingerprint = 32
	usignSeed        = 40
	usignSecretSize  = 104
)

// usignKey signs as usign does: by Ed25519. The fingerprint is a random number,
// by which opkg finds the public key in /etc/opkg/keys.
type usignKey struct {
	secret []byte // the fields of the file
}

func newUsignKey() (*usignKey, error) {
	secret := make([]byte, usignSecretSize)
	if _, err := rand.Read(secret[usignRounds+4 : usignSeed]); err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	copy(secret, "EdBK")
	copy(secret[usignSeed:], private)
	sum := sha512.Sum512(private)
	copy(secret[usignChecksum:usignFingerprint], sum[:])
	return &usignKey{secret}, nil
}

func parseUsignKey(text []byte) (*usignKey, error) {
	_, line, _ := bytes.Cut(text, []byte("\n"))
	secret, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	if err != nil {
		return nil, fmt.Errorf("no secret key of usign: %w", err)
	}
	if len(secret) != usignSecretSize || string(secret[:2]) != "Ed" {
		return nil, errors.New("no secret key of usign")
	}
	if !bytes.Equal(secret[usignRounds:usignRounds+4], make([]byte, 4)) {
		return nil, errors.New("the key has a password, which usign does not know either")
	}
	private := ed25519.NewKeyFromSeed(secret[usignSeed : usignSeed+ed25519.SeedSize])
	if !bytes.Equal(private, secret[usignSeed:]) {
		return nil, errors.New("the key is damaged: its public half does not fit")
	}
	return &usignKey{secret}, nil
}

func (k *usignKey) private() ed25519.PrivateKey { return k.secret[usignSeed:] }

func (k *usignKey) fingerprint() []byte { return k.secret[usignFingerprint:usignSeed] }

func (k *usignKey) secretText() []byte {
	return k.text(fmt.Sprintf("private key %x", k.fingerprint()), k.secret)
}

func (k *usignKey) publicText() []byte {
	return k.text(fmt.Sprintf("public key %x", k.fingerprint()), k.fields(k.private()[ed25519.SeedSize:]))
}

// sign returns the signature's file, as in Packages.sig.
func (k *usignKey) sign(message []byte) []byte {
	return k.text(fmt.Sprintf("signed by key %x", k.fingerprint()), k.fields(ed25519.Sign(k.private(), message)))
}

func (k *usignKey) fields(last []byte) []byte {
	return bytes.Join([][]byte{[]byte("Ed"), k.fingerprint(), last}, nil)
}

func (k *usignKey) text(comment string, fields []byte) []byte {
	return fmt.Appendf(nil, "untrusted comment: %s\n%s\n", comment, base64.StdEncoding.EncodeToString(fields))
}
