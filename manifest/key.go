package manifest

import "github.com/docker/libtrust"

// PrivateKey is a key that signs manifests of schema 1.
type PrivateKey = libtrust.PrivateKey

// LoadKey reads a private key from a file, in PEM or as a JSON web key.
func LoadKey(file string) (PrivateKey, error) { return libtrust.LoadKeyFile(file) }
