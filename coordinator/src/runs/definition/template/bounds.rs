//! What a template may cost. In: its text. Out: why it is refused; functions that do not grow.
//!
//! Templates may define templates, call them and loop, so a few lines can ask for years of work or all memory.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use gotmpl::parse::{BranchNode, ListNode, Node, Parser};
use gotmpl::{Template, TemplateError, Value};

/// Of all loops of a template together.
pub(super) const MAX_ITERATIONS: u64 = 1_000;
/// Pieces of text, actions and branches, counted again with each call of a template that holds them.
const MAX_NODES: u64 = 10_000;
/// Templates that call one another.
const MAX_CALLS: usize = 50;
/// What a function may be given; only these make texts longer.
const MAX_ARGUMENT_BYTES: usize = 8 << 10;
const GROWING: [&str; 6] = ["print", "println", "printf", "html", "js", "urlquery"];

/// Refuses what does not parse, calls itself, or is too much.
pub(super) fn check(template: &str) -> Result<(), String> {
    let parsed = Parser::with_name(Some(super::NAME), template, "{{", "}}").and_then(Parser::parse);
    let (tree, defines) = parsed.map_err(|err| err.to_string())?;
    let defines = defines.iter().map(|define| (define.name.as_str(), &define.body)).collect();
    let mut count = Count { defines, known: BTreeMap::new(), path: Vec::new() };
    match count.list(&tree)? {
        0..=MAX_NODES => Ok(()),
        _ => Err(format!("it has more than {MAX_NODES} pieces, counted with each call of a template that holds them")),
    }
}

struct Count<'a> {
    defines: BTreeMap<&'a str, &'a ListNode>,
    known: BTreeMap<&'a str, u64>,
    /// Templates that are being counted, each called by the one before.
    path: Vec<&'a str>,
}

impl<'a> Count<'a> {
    fn list(&mut self, list: &'a ListNode) -> Result<u64, String> {
        list.nodes.iter().try_fold(0, |sum: u64, node| Ok(sum.saturating_add(self.node(node)?)))
    }

    fn node(&mut self, node: &'a Node) -> Result<u64, String> {
        let inside = match node {
            Node::List(list) => self.list(list)?,
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch)?,
            Node::Template(call) => self.call(call.name.as_str())?,
            // Counted where they are called.
            Node::Define(_) | Node::Text(_) | Node::Action(_) | Node::Break(_) | Node::Continue(_) => 0,
        };
        Ok(inside.saturating_add(1))
    }

    fn branch(&mut self, branch: &'a BranchNode) -> Result<u64, String> {
        let otherwise = branch.else_body.as_ref().map_or(Ok(0), |body| self.list(body))?;
        Ok(self.list(&branch.body)?.saturating_add(otherwise))
    }

    fn call(&mut self, name: &'a str) -> Result<u64, String> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        if self.path.contains(&name) {
            return Err(format!("the template {name:?} calls itself: it would have no end"));
        }
        if self.path.len() >= MAX_CALLS {
            return Err(format!("more than {MAX_CALLS} templates call one another"));
        }
        // One that is not there is told of when it is called.
        let Some(body) = self.defines.get(name).copied() else { return Ok(0) };
        self.path.push(name);
        let count = self.list(body)?;
        self.path.pop();
        self.known.insert(name, count);
        Ok(count)
    }
}

/// Go's functions, refusing long arguments: of a few that double a text a few dozen fill the memory.
pub(super) fn functions(template: Template) -> Template {
    GROWING.into_iter().fold(template, |template, name| template.func(name, move |arguments| call(name, arguments)))
}

fn call(name: &str, arguments: &[Value]) -> gotmpl::Result<Value> {
    let mut length = Length(0);
    for argument in arguments {
        write!(length, "{argument}")
            .map_err(|fmt::Error| TemplateError::Exec(format!("{name} is given more than {MAX_ARGUMENT_BYTES} bytes")))?;
    }
    // The functions themselves are not to be had, but a template that calls one is.
    let mut template = format!("{{{{{name}");
    for index in 0..arguments.len() {
        template += &format!(" .a{index}");
    }
    template += "}}";
    let fields = arguments.iter().enumerate().map(|(index, argument)| (format!("a{index}").into(), argument.clone()));
    let called = Template::new(super::NAME).parse(&template)?.execute_to_string(&Value::Map(Arc::new(fields.collect())))?;
    Ok(Value::String(called.into()))
}

struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 > MAX_ARGUMENT_BYTES { Err(fmt::Error) } else { Ok(()) }
    }
}
