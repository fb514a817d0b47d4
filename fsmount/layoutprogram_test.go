package fsmount_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"registryfs/digest"
)

// layoutWriter is a tool that pushes to an image layout: its arguments are the
// layout, how it writes index.json, a manifest whose blobs are there, the
// beginning of the tags, and how many it pushes, one after the other.
//
// It writes index.json as several tools do: "truncate" in place, "rename" a
// temporary onto it, "inplace" reads and writes through one descriptor and
// truncates last. "bare" is truncate, by one that keeps of an index only what
// it knows: the manifests.
func layoutWriter(args []string) error {
	layout, how := args[0], args[1]
	payload, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	for i := range rounds {
		if err := pushTag(layout, how, payload, fmt.Sprint(args[3], i)); err != nil {
			return err
		}
	}
	return nil
}

func pushTag(layout, how string, payload []byte, tag string) error {
	index := filepath.Join(layout, "index.json")
	d := digest.FromBytes(payload)
	entry := descriptor("application/vnd.oci.image.manifest.v1+json", file{hex: d.Encoded(), size: len(payload)})
	entry["annotations"] = object{"org.opencontainers.image.ref.name": tag}

	flags := os.O_RDONLY
	if how == "inplace" {
		flags = os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(index, flags, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	var doc object
	if err := json.Unmarshal(content, &doc); err != nil {
		return err
	}
	manifests, _ := doc["manifests"].([]any)
	doc["manifests"] = append(manifests, entry)
	if how == "bare" {
		delete(doc, "annotations")
	}
	if content, err = json.Marshal(doc); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(layout, "blobs/sha256", d.Encoded()), payload, 0o644); err != nil {
		return err
	}
	switch how {
	case "rename":
		tmp := index + "." + tag
		if err := os.WriteFile(tmp, content, 0o600); err != nil {
			return err
		}
		return os.Rename(tmp, index)
	case "inplace":
		if _, err := f.WriteAt(content, 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(len(content))); err != nil {
			return err
		}
		return f.Close()
	default:
		return os.WriteFile(index, content, 0o644)
	}
}
