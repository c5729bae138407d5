package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
)

// apkKey signs as apk-tools 3 does with an EC key on P-256, the kind that
// OpenWrt's build makes.
type apkKey struct {
	private *ecdsa.PrivateKey
	plain   *ecdh.PrivateKey // the same key, for its bytes
}

func newAPKKey() (*apkKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return wrapAPKKey(private)
}

func wrapAPKKey(private *ecdsa.PrivateKey) (*apkKey, error) {
	plain, err := private.ECDH()
	return &apkKey{private, plain}, err
}

// parseAPKKey reads a private key as openssl writes it, in its old form or in
// PKCS #8.
func parseAPKKey(text []byte) (*apkKey, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key in PEM form")
		}
		var key any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue // such as the curve's name, in a block of its own
		}
		if err != nil {
			return nil, err
		}
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok || private.Curve != elliptic.P256() {
			return nil, errors.New("the key is no EC key on the curve P-256")
		}
		return wrapAPKKey(private)
	}
}

func (k *apkKey) secretPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func (k *apkKey) publicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// id returns what tells apk by which key something is signed: the first 16 bytes
// of the SHA-512 of the public key, as the uncompressed point.
func (k *apkKey) id() []byte {
	sum := sha512.Sum512(k.plain.PublicKey().Bytes())
	return sum[:16]
}

// sign returns the ECDSA signature of a message's SHA-512, in DER. The nonce is
// made of key and message as RFC 6979 says, and not by chance as crypto/ecdsa
// does, so that the same release has the same bytes. How long this takes tells
// of the key, but only to who is on the builder's machine anyway.
func (k *apkKey) sign(message []byte) ([]byte, error) {
	order := k.private.Params().N
	secret := new(big.Int).SetBytes(k.plain.Bytes())
	sum := sha512.Sum512(message)
	digest := new(big.Int).SetBytes(sum[:scalarSize]) // as many bits as the order has
	digest.Mod(digest, order)
	for nonces := newNonces(secret, digest); ; {
		nonce := nonces.next()
		if nonce.Sign() == 0 || nonce.Cmp(order) >= 0 {
			continue
		}
		r, err := xOfMultiple(nonce)
		if err != nil {
			return nil, err
		}
		r.Mod(r, order)
		// s = (digest + r * secret) / nonce
		s := new(big.Int).Mul(r, secret)
		s.Add(s, digest).Mul(s, new(big.Int).ModInverse(nonce, order)).Mod(s, order)
		if r.Sign() != 0 && s.Sign() != 0 {
			return asn1.Marshal(struct{ R, S *big.Int }{r, s})
		}
	}
}

// scalarSize is the size of P-256's order, in bytes.
const scalarSize = 32

func scalar(n *big.Int) []byte { return n.FillBytes(make([]byte, scalarSize)) }

// xOfMultiple returns the x coordinate of the curve's base point times n.
func xOfMultiple(n *big.Int) (*big.Int, error) {
	key, err := ecdh.P256().NewPrivateKey(scalar(n))
	if err != nil {
		return nil, err
	}
	point := key.PublicKey().Bytes() // a byte for the form, then x and y
	return new(big.Int).SetBytes(point[1 : 1+scalarSize]), nil
}

// nonces is the generator of section 3.2 of RFC 6979, with HMAC-SHA-512.
type nonces struct{ k, v []byte }

func newNonces(secret, digest *big.Int) *nonces {
	n := &nonces{make([]byte, sha512.Size), make([]byte, sha512.Size)}
	for i := range n.v {
		n.v[i] = 1
	}
	n.update([]byte{0}, scalar(secret), scalar(digest))
	n.update([]byte{1}, scalar(secret), scalar(digest))
	return n
}

func (n *nonces) update(seed ...[]byte) {
	n.k = n.mac(append([][]byte{n.v}, seed...)...)
	n.v = n.mac(n.v)
}

func (n *nonces) mac(parts ...[]byte) []byte {
	h := hmac.New(sha512.New, n.k)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// next returns the next candidate, which may be too large.
func (n *nonces) next() *big.Int {
	n.v = n.mac(n.v)
	candidate := new(big.Int).SetBytes(n.v[:scalarSize])
	n.update([]byte{0})
	return candidate
}
