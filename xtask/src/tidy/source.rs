//! One Rust file, parsed, with the tests taken out of what the walls look at.

use anyhow::{Context, Result};
use quote::ToTokens;
use syn::visit::Visit;

use super::paths::{self, PathUse};

/// A Rust file.
pub(crate) struct Source {
    /// Its path from the workspace root.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its items, inline tests left out.
    pub(crate) file: syn::File,
    /// Lines of inline tests.
    pub(crate) test_lines: usize,
    /// Every path that is named outside of tests, imports resolved.
    pub(crate) uses: Vec<PathUse>,
}

impl Source {
    /// Parses the text of the file at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let mut file = syn::parse_file(text).with_context(|| format!("failed to parse `{path}`"))?;
        let mut test_lines = 0;
        drop_tests(&mut file.items, &mut test_lines);
        let uses = file.items.iter().map(ToTokens::to_token_stream).collect();
        let uses = if is_test_file(path) { Vec::new() } else { paths::of(uses) };
        Ok(Self { path: path.to_owned(), text: text.to_owned(), file, test_lines, uses })
    }

    /// Whether the whole file is tests or serves only them.
    pub(crate) fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }

    /// Lines without inline tests.
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count() - self.test_lines
    }
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("testkit/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
        || path.ends_with("/tests.rs")
}

/// Removes items under `#[cfg(test)]`, here and in inline modules, counting their lines.
fn drop_tests(items: &mut Vec<syn::Item>, lines: &mut usize) {
    items.retain(|item| {
        let is_test = attributes(item).iter().any(is_cfg_test);
        if is_test {
            *lines += line_span(item);
        }
        !is_test
    });
    for item in items {
        if let syn::Item::Mod(syn::ItemMod { content: Some((_, items)), .. }) = item {
            drop_tests(items, lines);
        }
    }
}

/// How many lines the item takes, its attributes included.
pub(crate) fn line_span(item: &impl ToTokens) -> usize {
    let mut tokens = item.to_token_stream().into_iter();
    let Some(first) = tokens.next() else { return 0 };
    let last = tokens.last().unwrap_or_else(|| first.clone());
    last.span().end().line - first.span().start().line + 1
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.meta.to_token_stream().to_string().replace(' ', "") == "cfg(test)"
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(it) => &it.attrs,
        syn::Item::Enum(it) => &it.attrs,
        syn::Item::Fn(it) => &it.attrs,
        syn::Item::Impl(it) => &it.attrs,
        syn::Item::Macro(it) => &it.attrs,
        syn::Item::Mod(it) => &it.attrs,
        syn::Item::Static(it) => &it.attrs,
        syn::Item::Struct(it) => &it.attrs,
        syn::Item::Trait(it) => &it.attrs,
        syn::Item::Type(it) => &it.attrs,
        syn::Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// Calls `see` with every attribute of the file and its line.
pub(crate) fn each_attribute(file: &syn::File, see: impl FnMut(&syn::Attribute)) {
    struct Attributes<F>(F);
    impl<F: FnMut(&syn::Attribute)> Visit<'_> for Attributes<F> {
        fn visit_attribute(&mut self, attribute: &syn::Attribute) {
            (self.0)(attribute);
        }
    }
    Attributes(see).visit_file(file);
}
