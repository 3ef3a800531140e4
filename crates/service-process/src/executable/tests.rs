//! Tests of programs that are refused, and of programs that are accepted.

use super::super::elf::LOADED;
use super::*;
use std::os::unix::fs::PermissionsExt;

fn refused(text: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let search =
        ProgramSearch { directory: directory.path(), path: Some("/usr/bin:/bin".into()), identity: None };
    search.check("./program").err().map(|refusal| refusal.why)
}

#[test]
fn what_the_kernel_executes_is_not_refused() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    for fit in [
        b"#!/bin/sh\n".as_slice(),
        b"#! /bin/sh -e\nexit 0",
        b"#!/usr/bin/env sh\n",
        b"#!/usr/bin/env -S sh -e\n",
        b"#!/usr/bin/env -S A=1 nowhere\n",
        &own,
    ] {
        assert_eq!(refused(fit), None);
    }
}

#[test]
fn what_it_does_not_execute_is() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    let mut object = own.clone();
    object[16] = 1;
    let mut foreign = own.clone();
    foreign[18..20].copy_from_slice(&[243, 0]);
    let no_program =
        "program `./program` is neither a binary for this machine nor a script: it has no `#!` line";
    for (unfit, told) in [
        (b"#!/no/such\n".as_slice(), "the interpreter `/no/such` of program `./program` does not exist"),
        (
            b"#!/bin/sh\r\nexit",
            "the interpreter `/bin/sh\\r` of program `./program` does not exist: its first line ends with a carriage return",
        ),
        (b"#!/usr/bin/env nowhere\n", "the interpreter `nowhere` of program `./program` is not in PATH"),
        (
            b"#!/usr/bin/env sh\r\n",
            "the interpreter `sh\\r` of program `./program` is not in PATH: its first line ends with a carriage return",
        ),
        (b"#!\n", "the first line of program `./program` names no interpreter"),
        (b"#!/etc\n", "the interpreter `/etc` of program `./program` cannot be executed"),
        (b"", "program `./program` is empty"),
        (b"sleep 1\n", no_program),
        (
            b"\xef\xbb\xbf#!/bin/sh\n",
            "program `./program` begins with a byte order mark, so the kernel ignores its `#!` line",
        ),
        (&[0; 512], no_program),
        (b"\xcf\xfa\xed\xfe", no_program),
        (&own[..2], "program `./program` is truncated"),
        (&own[..32], "program `./program` is truncated"),
        (&own[..64], "program `./program` is truncated"),
        (&foreign, "program `./program` is built for RISC-V, not for this machine"),
        (&object, "program `./program` is an object file"),
    ] {
        assert_eq!(refused(unfit).as_deref(), Some(told));
    }
}

#[test]
fn a_binary_without_the_end_of_its_last_segment_is_refused() {
    let own = std::fs::read("/bin/sh").unwrap();
    let parts = [1_000, 4_096, 5_000, own.len() / 2];
    for length in parts {
        let told = refused(&own[..length]);
        assert_eq!(told.as_deref(), Some("program `./program` is truncated"), "{length} of {}", own.len());
    }
    assert_eq!(refused(&own), None);
}

#[test]
fn the_length_of_a_binary_of_32_bits_is_known_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut image = vec![0; 52 + 32];
    image[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(28, &52_u32.to_le_bytes());
    put(42, &[32, 0, 1, 0]);
    put(52, &LOADED.to_le_bytes());
    put(52 + 4, &1_000_u32.to_le_bytes());
    put(52 + 16, &500_u32.to_le_bytes());
    std::fs::write(directory.path().join("program"), &image).unwrap();
    let (file, head) = head(&directory.path().join("program")).unwrap();
    assert_eq!(needed_bytes(&file, &head).unwrap(), 1_500);
}

#[test]
fn whether_it_may_be_executed_is_asked_for_its_user_and_from_where_it_runs() {
    if !geteuid().is_root() {
        return; // only root can check for another user
    }
    let outer = tempfile::tempdir().unwrap(); // which only the owner may enter
    let directory = outer.path().join("inner");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("program"), "#!/bin/sh\n").unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(&directory, 0o755);
    mode(&directory.join("program"), 0o750);
    let mut identity =
        Identity { name: "guest".into(), home: "/".into(), uid: 4711, gid: 4711, groups: vec![4711] };
    let check = |identity: &Identity| {
        let search = ProgramSearch { directory: &directory, path: None, identity: Some(identity) };
        search.check("./program").err().map(|refusal| refusal.why)
    };
    let told = "program `./program` cannot be executed by user `guest`";
    assert_eq!(check(&identity).as_deref(), Some(told));
    mode(&directory.join("program"), 0o755);
    assert_eq!(check(&identity), None);
    mode(&directory.join("program"), 0o750);
    identity.groups.push(0);
    assert_eq!(check(&identity), None, "by one of its groups");
    assert!(
        geteuid().is_root() && File::open(directory.join("program")).is_ok(),
        "the main thread keeps its user"
    );
}
