// Package storagetest holds the conformance suite for the contracts of package
// storage.
//
//	func TestConformance(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T, o storagetest.Options) storage.Registry {
//			reg, err := storage.Open(t.Context(), memdriver.New(), storage.Options{
//				Create: true, ReadOnly: o.ReadOnly, AllowDelete: o.AllowDelete,
//				SparseIndexes: o.SparseIndexes, ImmutableTags: o.ImmutableTags,
//			})
//			require.NoError(t, err)
//			return reg
//		})
//	}
//
// The suite is split by topic, a file for each noun of the contract, and uses
// nothing but the contract: what an implementation stands on, and how content
// goes bad there, is for its own tests.
package storagetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/storage"
)

// Options say what kind of registry a test needs. The zero value reads and
// writes, deletes nothing, and tags no index without its children.
type Options struct {
	ReadOnly      bool // every change is storage.ErrReadOnly
	AllowDelete   bool // blobs and manifests may be deleted
	SparseIndexes bool // an index may be tagged without its children
	ImmutableTags bool // a tag that exists can be neither moved nor removed
}

// New returns an empty registry, which no other test uses meanwhile.
type New func(t *testing.T, o Options) storage.Registry

// Run tests a registry. newRegistry is called for each test, from several
// goroutines at once.
func Run(t *testing.T, newRegistry New) {
	for _, topic := range []struct {
		name string
		run  func(s *suite)
	}{
		{"Blobs", testBlobs},
		{"Reads", testReads},
		{"BlobsDelete", testBlobsDelete},
		{"BlobsMount", testBlobsMount},
		{"Retract", testRetract},
		{"Uploads", testUploads},
		{"UploadCommit", testUploadCommit},
		{"UploadResume", testUploadResume},
		{"UploadRandom", testUploadRandom},
		{"UploadConcurrent", testUploadConcurrent},
		{"Provisional", testProvisional},
		{"Digests", testDigests},
		{"Manifests", testManifests},
		{"Signed", testSigned},
		{"ManifestReferences", testManifestReferences},
		{"Referrers", testReferrers},
		{"ManifestsDelete", testManifestsDelete},
		{"ManifestsMount", testManifestsMount},
		{"Tags", testTags},
		{"TagsConcurrent", testTagsConcurrent},
		{"DeleteConcurrent", testDeleteConcurrent},
		{"Catalog", testCatalog},
		{"Names", testNames},
		{"ReadOnly", testReadOnly},
		{"Context", testContext},
	} {
		t.Run(topic.name, func(t *testing.T) {
			t.Parallel()
			topic.run(&suite{t: t, newRegistry: newRegistry})
		})
	}
}

// suite runs the tests of one topic.
type suite struct {
	t           *testing.T
	newRegistry New
}

// test runs one test on a registry of its own.
func (s *suite) test(name string, fn func(t *testing.T, reg storage.Registry)) {
	s.testWith(name, Options{}, fn)
}

// testWith is test on a registry of some kind.
func (s *suite) testWith(name string, o Options, fn func(t *testing.T, reg storage.Registry)) {
	s.t.Run(name, func(t *testing.T) { fn(t, s.newRegistry(t, o)) })
}

// repository returns the repository of a valid name.
func repository(t *testing.T, reg storage.Registry, name string) storage.Repository {
	t.Helper()
	repo, err := reg.Repository(name)
	require.NoError(t, err)
	require.Equal(t, name, repo.Name())
	return repo
}
