//! The measures of the code, as one line: aims to look at, no gates.

use quote::ToTokens;
use syn::visit::{self, Visit};

use super::source::{Source, line_span};
use super::tree::Tree;

/// The dashboard line.
pub(crate) fn of(tree: &Tree) -> String {
    let sources: Vec<_> = tree.sources.iter().filter(|source| !source.is_test()).collect();
    let files: Vec<_> = sources.iter().map(|source| source.lines()).collect();
    let mut counts = Counts::default();
    for source in &sources {
        counts.visit_file(&source.file);
    }
    let tests: usize = test_lines(&tree.sources);
    let lines: usize = files.iter().sum();
    let per_kilo = |count: usize| ratio(count * 1000, lines);
    format!(
        "{} files, {lines} lines (p50 {} p90 {} max {}) · {} fns (p50 {} p95 {} max {}, {:.1} % over 40) \
         · unwrap {:.1} expect {:.1} per kLOC · {:.0} % of pub documented · test:src {:.2}",
        files.len(),
        percentile(&files, 50),
        percentile(&files, 90),
        percentile(&files, 100),
        counts.functions.len(),
        percentile(&counts.functions, 50),
        percentile(&counts.functions, 95),
        percentile(&counts.functions, 100),
        ratio(100 * counts.functions.iter().filter(|it| **it > 40).count(), counts.functions.len()),
        per_kilo(counts.unwraps),
        per_kilo(counts.expects),
        ratio(100 * counts.documented, counts.public),
        ratio(tests, lines),
    )
}

fn test_lines(sources: &[Source]) -> usize {
    let whole = |source: &Source| if source.is_test() { source.lines() } else { 0 };
    sources.iter().map(|source| source.test_lines + whole(source)).sum()
}

#[derive(Default)]
struct Counts {
    functions: Vec<usize>,
    unwraps: usize,
    expects: usize,
    public: usize,
    documented: usize,
}

impl Counts {
    fn item(&mut self, visibility: &syn::Visibility, attributes: &[syn::Attribute]) {
        if !matches!(visibility, syn::Visibility::Public(_)) {
            return;
        }
        self.public += 1;
        self.documented += usize::from(attributes.iter().any(|it| it.path().is_ident("doc")));
    }

    fn function(&mut self, block: &impl ToTokens) {
        self.functions.push(line_span(block));
    }
}

impl Visit<'_> for Counts {
    fn visit_item_fn(&mut self, it: &syn::ItemFn) {
        self.item(&it.vis, &it.attrs);
        self.function(it);
        visit::visit_item_fn(self, it);
    }

    fn visit_impl_item_fn(&mut self, it: &syn::ImplItemFn) {
        self.item(&it.vis, &it.attrs);
        self.function(it);
        visit::visit_impl_item_fn(self, it);
    }

    fn visit_item_struct(&mut self, it: &syn::ItemStruct) {
        self.item(&it.vis, &it.attrs);
    }

    fn visit_item_enum(&mut self, it: &syn::ItemEnum) {
        self.item(&it.vis, &it.attrs);
    }

    fn visit_item_trait(&mut self, it: &syn::ItemTrait) {
        self.item(&it.vis, &it.attrs);
        visit::visit_item_trait(self, it);
    }

    fn visit_item_const(&mut self, it: &syn::ItemConst) {
        self.item(&it.vis, &it.attrs);
    }

    fn visit_expr_method_call(&mut self, it: &syn::ExprMethodCall) {
        self.unwraps += usize::from(it.method == "unwrap");
        self.expects += usize::from(it.method == "expect");
        visit::visit_expr_method_call(self, it);
    }
}

/// The value below or at which `percent` of the values lie.
fn percentile(values: &[usize], percent: usize) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines, shown with one digit")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_list() {
        let values = [5, 1, 4, 2, 3];
        assert_eq!([50, 90, 100].map(|it| percentile(&values, it)), [3, 5, 5]);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn tests_are_left_out() {
        let text = "//! A.\npub fn a() {\n    b.unwrap();\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() { c.unwrap() }\n}\n";
        let tree = Tree::of_texts(&[("crates/a/src/b.rs", text)]).unwrap();
        let line = of(&tree);
        assert!(line.starts_with("1 files, 5 lines (p50 5 p90 5 max 5) · 1 fns (p50 3"), "{line}");
        assert!(line.contains("unwrap 200.0 expect 0.0 per kLOC · 0 % of pub"), "{line}");
    }
}
