//! Layers: inside each crate, imports between modules form no cycle, read from the `use` lines and paths of the sources;
//! and the library compiles no HTTP client or server.

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::{Attribute, Item};

/// A module: the names that lead to it from the root of its crate.
type Module = Vec<String>;

/// One reference from a module to another.
struct Import {
    from: usize,
    to: usize,
    place: String,
}

/// The modules of one crate, and the references between them.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Module, (PathBuf, TokenStream)>,
}

impl Crate {
    /// Reads a crate from its root file.
    fn read(root: &Path) -> Self {
        let mut read = Self::default();
        read.add(Vec::new(), root, root.parent().expect("a file is in a directory"));
        read
    }

    /// Reads a module and its children, without tests. `children` is the directory of the children's files.
    fn add(&mut self, module: Module, file: &Path, children: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut code = TokenStream::new();
        for item in syntax.items {
            match item {
                Item::Mod(inner) if is_test(&inner.attrs) => {}
                Item::Mod(inner) if inner.content.is_none() => {
                    let name = inner.ident.to_string();
                    let beside = children.join(format!("{name}.rs"));
                    let below = children.join(&name);
                    let file = if beside.exists() { beside } else { below.join("mod.rs") };
                    self.add([module.as_slice(), &[name]].concat(), &file, &below);
                }
                Item::Fn(item) if is_test(&item.attrs) => {}
                Item::Impl(item) if is_test(&item.attrs) => {}
                Item::Use(item) if is_test(&item.attrs) => {}
                item => item.to_tokens(&mut code),
            }
        }
        self.modules.insert(module, (file.to_owned(), code));
    }

    /// The module of a path: the longest prefix of the path that is a module.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<usize> {
        // `pub(crate)` and `pub(super)` name no module.
        if path.len() < 2 {
            return None;
        }
        let mut module = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => from.clone(),
            child => {
                let child = [from.as_slice(), &[child.to_owned()]].concat();
                return self.modules.contains_key(&child).then(|| self.deepest(child, &path[1..]));
            }
        };
        let ups = path.iter().take_while(|word| *word == "super").count();
        module.truncate(module.len().checked_sub(ups)?);
        let skip = ups.max(1);
        Some(self.deepest(module, &path[skip..]))
    }

    fn deepest(&self, mut module: Module, rest: &[String]) -> usize {
        for word in rest {
            module.push(word.clone());
            if !self.modules.contains_key(&module) {
                module.pop();
                break;
            }
        }
        self.modules.keys().position(|known| *known == module).expect("the root is a module")
    }

    /// Every reference of a module to another one of the crate.
    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (from, (module, (file, code))) in self.modules.iter().enumerate() {
            let mut paths = Vec::new();
            collect(code.clone(), &[], &mut paths);
            for (path, line) in paths {
                if let Some(to) = self.resolve(module, &path)
                    && to != from
                {
                    let place = format!("{}:{line}: {}", file.display(), path.join("::"));
                    imports.push(Import { from, to, place });
                }
            }
        }
        imports
    }

    /// The references that close a cycle.
    fn cycles(&self) -> Vec<String> {
        let imports = self.imports();
        let edges = imports.iter().map(|import| (import.from, import.to));
        let graph = DiGraph::<(), (), usize>::from_edges(edges);
        let name = |module: usize| {
            let words = self.modules.keys().nth(module).map(|module| module.join("::")).unwrap_or_default();
            if words.is_empty() { "crate".to_owned() } else { words }
        };
        let mut found = Vec::new();
        for cycle in tarjan_scc(&graph).into_iter().filter(|cycle| cycle.len() > 1) {
            let cycle: Vec<usize> = cycle.into_iter().map(NodeIndex::index).collect();
            let names: Vec<String> = cycle.iter().copied().map(name).collect();
            found.push(format!("a cycle of {} modules: {}", cycle.len(), names.join(", ")));
            let inside = imports.iter().filter(|one| cycle.contains(&one.from) && cycle.contains(&one.to));
            found.extend(inside.map(|one| format!("  {}", one.place)));
        }
        found
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.meta.to_token_stream().to_string().contains("test")
    })
}

/// The paths in a stream of tokens, each with its first line; `a::{b, c}` yields `a::b` and `a::c`.
fn collect(tokens: TokenStream, prefix: &[String], paths: &mut Vec<(Vec<String>, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(first) => {
                let line = first.span().start().line;
                let mut path = [prefix, &[first.to_string()]].concat();
                at += 1;
                while is_separator(&tokens, at) {
                    at += 2;
                    match tokens.get(at) {
                        Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect(group.stream(), &path, paths);
                            path.clear();
                        }
                        _ => break,
                    }
                    at += 1;
                }
                if !path.is_empty() {
                    paths.push((path, line));
                }
            }
            TokenTree::Group(group) => {
                collect(group.stream(), &[], paths);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))
}

/// The root file of each program and library of the workspace.
fn roots() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository");
    let crates =
        fs::read_dir(root.join("crates")).expect("there are crates").flatten().map(|entry| entry.path());
    let packages = crates.chain(
        ["bench", "examples/embed", "examples/quickstart", "tests", "xtask"].map(|name| root.join(name)),
    );
    let mut roots: Vec<PathBuf> = packages
        .flat_map(|package| ["src/lib.rs", "src/main.rs"].map(|file| package.join(file)))
        .filter(|file| file.exists())
        .collect();
    roots.sort();
    roots
}

#[test]
fn modules_form_no_cycle() {
    let roots = roots();
    assert!(roots.len() > 8, "{roots:?}");
    let cycles: Vec<String> = roots.iter().flat_map(|root| Crate::read(root).cycles()).collect();
    assert!(cycles.is_empty(), "imports go one way only:\n{}", cycles.join("\n"));
}

#[test]
fn a_cycle_made_on_purpose_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        fs::write(file, text).expect("a file");
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;\n");
    write("a.rs", "mod inner;\nuse crate::{b, c::Three};\npub struct One;\nfn two() { b::go() }\n");
    write("a/inner.rs", "pub fn inner() { other!(crate::c::Three) }\n");
    write("b.rs", "pub fn go() -> super::a::One { todo() }\n");
    write("c.rs", "pub struct Three;\n#[cfg(test)]\nmod tests { use crate::a; }\n");
    let cycles = Crate::read(&directory.path().join("lib.rs")).cycles().join("\n");
    assert!(cycles.starts_with("a cycle of 2 modules: "), "{cycles}");
    assert!(cycles.contains("a.rs:2: crate::b\n") && cycles.contains("b.rs:1: super::a::One"), "{cycles}");
    assert!(!cycles.contains("c.rs") && !cycles.contains("inner.rs"), "{cycles}");
}

/// The packages that a library compiles, for programs outside of this workspace, with these features.
fn compiled_packages(library: &str, features: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--quiet", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"]);
    tree.args(["--package", library, "--features", features, "--format", "{p}", "--manifest-path"]);
    let output = tree.arg(manifest).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names of packages are text");
    text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn the_library_compiles_no_http_server_client_or_tls() {
    let is_foreign =
        |package: &&String| ["axum", "hyper", "rustls", "utoipa"].iter().any(|name| package.contains(name));
    let packages = compiled_packages("service-orchestrator", "");
    assert!(packages.contains("service-probe") && packages.contains("tokio"), "{packages:?}");
    let foreign: Vec<&String> = packages.iter().filter(is_foreign).collect();
    assert!(foreign.is_empty(), "service-orchestrator compiles {foreign:?}");
    // With the feature, cargo reports them: the test would see them.
    let packages = compiled_packages("service-orchestrator", "http");
    let server: Vec<&String> =
        packages.iter().filter(|name| name.contains("axum") || name.contains("utoipa")).collect();
    assert!(packages.contains("hyper") && packages.contains("rustls"), "{packages:?}");
    assert!(server.is_empty(), "service-orchestrator compiles {server:?}");
}
