//! Which libraries a program needs: what its ELF headers say to the kernel and to the loader.
//!
//! ldd(1) answers the same question by running the program's loader, which is a program of the stranger's
//! choice; here the file is only read. As the loader does, this looks at program headers alone: section
//! headers may be stripped. Source: elf(5), ld.so(8). Lesson: 3, the root filesystem.

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, Dynamic};
use goblin::elf::program_header::{PT_INTERP, ProgramHeader};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

// ANCHOR: elf
/// The part of an ELF file that decides what else must be in the tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Elf {
    /// Class, byte order and machine: an object is loaded only with others of its kind.
    pub kind: (u8, u8, u16),
    /// PT_INTERP: the loader, which the kernel starts in the program's place; a static program has none.
    pub interpreter: Option<PathBuf>,
    /// DT_NEEDED: names of libraries.
    pub needed: Vec<OsString>,
    /// DT_SONAME: the name that others know this library by.
    pub soname: Option<OsString>,
    /// DT_RPATH: directories to search for its libraries and for theirs.
    pub rpath: Vec<OsString>,
    /// DT_RUNPATH: directories to search for its own libraries only.
    pub runpath: Vec<OsString>,
}
// ANCHOR_END: elf

/// Reads the headers; `None` if this is no ELF file, an error if it is a broken one.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Elf>, goblin::error::Error> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let header = goblin::elf::Elf::parse_header(bytes)?;
    let context = Ctx::new(header.container()?, header.endianness()?);
    let offset = header.e_phoff as usize;
    let segments = ProgramHeader::parse(bytes, offset, header.e_phnum.into(), context)?;
    let mut elf = Elf {
        kind: (header.e_ident[4], header.e_ident[5], header.e_machine),
        ..Elf::default()
    };
    if let Some(segment) = segments.iter().find(|s| s.p_type == PT_INTERP) {
        let path = string_at(bytes, segment.p_offset as usize);
        elf.interpreter = path.map(PathBuf::from);
    }
    let Some(dynamic) = Dynamic::parse(bytes, &segments, context)? else {
        return Ok(Some(elf));
    };
    for entry in &dynamic.dyns {
        // Unlike its neighbours, goblin has translated `strtab` from an address to an offset in the file.
        let offset = dynamic.info.strtab.checked_add(entry.d_val as usize);
        let string = || string_at(bytes, offset?);
        match entry.d_tag {
            DT_NEEDED => elf.needed.extend(string()),
            DT_SONAME => elf.soname = string(),
            DT_RPATH => elf.rpath.extend(string().iter().flat_map(directories)),
            DT_RUNPATH => elf.runpath.extend(string().iter().flat_map(directories)),
            _ => {}
        }
    }
    Ok(Some(elf))
}

/// The null-terminated string at an offset.
fn string_at(bytes: &[u8], offset: usize) -> Option<OsString> {
    let rest = bytes.get(offset..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(OsStr::from_bytes(&rest[..end]).to_owned())
}

/// The directories of a search path. An empty one would be the current directory, which is no place to
/// take libraries from.
fn directories(path: &OsString) -> Vec<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b':');
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| OsStr::from_bytes(part).into()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use goblin::elf::dynamic::{DT_NULL, DT_STRSZ, DT_STRTAB};

    /// A little 64-bit ELF file that says about itself what `elf` says.
    pub fn craft(elf: &Elf) -> Vec<u8> {
        let join = |dirs: &[OsString]| dirs.join(OsStr::new(":"));
        let mut tags: Vec<(u64, OsString)> = Vec::new();
        tags.extend(elf.needed.iter().map(|name| (DT_NEEDED, name.clone())));
        tags.extend(elf.soname.iter().map(|name| (DT_SONAME, name.clone())));
        if !elf.rpath.is_empty() {
            tags.push((DT_RPATH, join(&elf.rpath)));
        }
        if !elf.runpath.is_empty() {
            tags.push((DT_RUNPATH, join(&elf.runpath)));
        }
        let interpreter = elf.interpreter.as_ref().map(|path| path.as_os_str());
        let segments: u64 = if interpreter.is_some() { 3 } else { 2 };
        let dynamic_at = 64 + 56 * segments;
        let dynamic_size = 16 * (tags.len() as u64 + 3);
        let strings_at = dynamic_at + dynamic_size;
        let mut strings = vec![0];
        let mut dynamic = Vec::new();
        for (tag, value) in tags {
            dynamic.extend([tag, strings.len() as u64]);
            strings.extend(value.as_bytes());
            strings.push(0);
        }
        let interpreter_at = strings_at + strings.len() as u64;
        if let Some(path) = interpreter {
            strings.extend(path.as_bytes());
            strings.push(0);
        }
        let size = strings.len() as u64;
        dynamic.extend([DT_STRTAB, strings_at, DT_STRSZ, size, DT_NULL, 0]);

        let mut bytes = vec![0x7f, b'E', b'L', b'F', elf.kind.0, elf.kind.1, 1];
        bytes.resize(16, 0);
        bytes.extend(3u16.to_le_bytes()); // ET_DYN
        bytes.extend(elf.kind.2.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        for value in [0u64, 64, 0] {
            bytes.extend(value.to_le_bytes()); // entry, program headers, section headers
        }
        bytes.extend(0u32.to_le_bytes());
        for value in [64u16, 56, segments as u16, 64, 0, 0] {
            bytes.extend(value.to_le_bytes());
        }
        let end = strings_at + size;
        let mut segment = |kind: u32, at: u64, size: u64| {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(4u32.to_le_bytes());
            for value in [at, at, at, size, size, 8] {
                bytes.extend(value.to_le_bytes());
            }
        };
        segment(1, 0, end); // PT_LOAD
        segment(2, dynamic_at, dynamic_size); // PT_DYNAMIC
        if interpreter.is_some() {
            segment(3, interpreter_at, end - interpreter_at); // PT_INTERP
        }
        bytes.extend(dynamic.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(strings);
        bytes
    }

    /// The kind of the crafted files: 64 bits, little-endian, x86-64.
    pub const KIND: (u8, u8, u16) = (2, 1, 62);

    fn example() -> Elf {
        Elf {
            kind: KIND,
            interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()),
            needed: vec!["libtinfo.so.6".into(), "libc.so.6".into()],
            soname: Some("libx.so.1".into()),
            rpath: vec!["/opt/a".into()],
            runpath: vec!["$ORIGIN/../lib".into(), "/opt/b".into()],
        }
    }

    #[test]
    fn everything_that_matters_is_read() {
        assert_eq!(parse(&craft(&example())).unwrap(), Some(example()));
    }

    #[test]
    fn a_file_that_is_not_elf_is_none() {
        assert_eq!(parse(b"#!/bin/sh\n").unwrap(), None);
        assert_eq!(parse(b"").unwrap(), None);
    }

    #[test]
    fn a_file_cut_short_is_an_error_or_less_but_never_a_panic() {
        let whole = craft(&example());
        for length in 0..whole.len() {
            let _ = parse(&whole[..length]);
        }
        assert!(parse(&whole[..40]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn damaged_headers_never_panic(at in 0usize..400, value: u8) {
            let mut bytes = craft(&example());
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = parse(&bytes);
        }
    }
}
