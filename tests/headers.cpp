// The target that owns the precompiled headers.h needs a file.
