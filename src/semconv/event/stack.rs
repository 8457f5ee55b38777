//! What stack traces of one bug have in common: the functions of the application that it came through,
//! innermost first, without what changes from build to build: lines, columns, addresses, directories
//! of machines.
//!
//! A stack is a text, told apart by the shape of its lines: Python, JavaScript (V8, and Gecko's and
//! WebKit's), Java and its kin, .NET, Go and Rust. Anything else has no frames.

/// Frames that tell one bug from another.
const FRAMES_MAX: usize = 3;
/// Bytes of a stack that are looked at, and lines: more of it tells no more.
const BYTES_MAX: usize = 64 << 10;
const LINES_MAX: usize = 1000;

/// A call in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame<'a> {
    /// Module, class or file; may be empty.
    place: &'a str,
    function: &'a str,
    /// Whether it is of the application, not of what it is built with.
    is_own: bool,
}

/// The innermost calls of the application, or of anything where none is known to be the
/// application's; empty when this is no stack that is known.
pub(super) fn signature(stack: &str) -> String {
    let end = stack.floor_char_boundary(BYTES_MAX);
    let stack = stack.get(..end).unwrap_or_default();
    let frames = frames(stack);
    let own = frames.iter().filter(|frame| frame.is_own).count();
    let chosen = frames.iter().filter(|frame| own == 0 || frame.is_own);
    let mut out = String::new();
    for frame in chosen.take(FRAMES_MAX) {
        push_stable(&mut out, file_name(frame.place));
        out.push(':');
        push_stable(&mut out, frame.function);
        out.push('\n');
    }
    out
}

/// The calls of a stack, innermost first.
fn frames(stack: &str) -> Vec<Frame<'_>> {
    if let Some((_, last)) = stack.rsplit_once("Traceback (most recent call last)") {
        let mut frames: Vec<_> = last.lines().take(LINES_MAX).filter_map(python).collect();
        frames.reverse();
        return frames;
    }
    if stack.starts_with("goroutine ") || stack.contains("\ngoroutine ") {
        return go(stack);
    }
    // Its lines with places look like those of V8.
    if stack.contains(".rs:") {
        return rust(stack);
    }
    // What an exception was caused by comes last.
    let cause = stack.rsplit_once("\nCaused by: ");
    let innermost = cause.map_or(stack, |(_, cause)| cause);
    let lines = || innermost.lines().take(LINES_MAX);
    let by_line = [java, dot_net, v8, gecko];
    for read in by_line {
        let frames: Vec<_> = lines().filter_map(read).collect();
        if !frames.is_empty() {
            return frames;
        }
    }
    rust(stack)
}

/// `  File "/app/shop/cart.py", line 12, in checkout`
fn python(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (path, rest) = rest.split_once("\", line ")?;
    let function = rest.split_once(", in ").map_or("", |(_, name)| name.trim());
    let foreign = [
        "site-packages",
        "dist-packages",
        "/lib/python",
        "<frozen",
        "\\lib\\",
    ];
    Some(Frame {
        place: path,
        function,
        is_own: !has_any(path, &foreign),
    })
}

/// `at com.acme.Cart.checkout(Cart.java:12)`
fn java(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("at ")?;
    let (called, place) = rest.split_once('(')?;
    let place = place.trim_end().strip_suffix(')')?;
    let is_place = place.contains(".java:")
        || place.contains(".kt:")
        || place.contains(".scala:")
        || ["Native Method", "Unknown Source"].contains(&place);
    // Of a module: java.base/java.lang.Thread.run
    let called = called.rsplit_once('/').map_or(called, |(_, called)| called);
    let (class, function) = called.rsplit_once('.').filter(|_| is_place)?;
    let foreign = [
        "java.",
        "javax.",
        "jdk.",
        "sun.",
        "com.sun.",
        "kotlin.",
        "kotlinx.",
        "scala.",
        "jakarta.",
        "org.springframework.",
        "org.apache.",
        "io.netty.",
        "reactor.",
        "org.eclipse.jetty.",
        "org.hibernate.",
    ];
    Some(Frame {
        place: class,
        function,
        is_own: !foreign.iter().any(|start| class.starts_with(start)),
    })
}

/// `   at Acme.Shop.Cart.Checkout(String id) in /app/Cart.cs:line 12`
fn dot_net(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("at ")?;
    let (called, rest) = rest.split_once('(')?;
    let (_, behind) = rest.rsplit_once(')')?;
    let is_place = behind.is_empty() || behind.starts_with(" in ");
    let is_name = !called.contains([' ', '/', ':', '<']) && is_place;
    let (class, function) = called.rsplit_once('.').filter(|_| is_name)?;
    // V8 has a place there.
    if rest.contains(".js:") || rest.contains(".ts:") || rest.contains("://") {
        return None;
    }
    let foreign = ["System.", "Microsoft."];
    Some(Frame {
        place: class,
        function,
        is_own: !foreign.iter().any(|start| class.starts_with(start)),
    })
}

/// `    at async Cart.checkout (file:///app/src/cart.js:12:5)`, `    at /app/src/main.js:1:2`
fn v8(line: &str) -> Option<Frame<'_>> {
    let rest = line.trim_start().strip_prefix("at ")?.trim_end();
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let (function, place) = match rest.rsplit_once(" (") {
        Some((function, place)) => (function, place.strip_suffix(')')?),
        None => ("", rest),
    };
    script(function, place)
}

/// `checkout@https://shop.example/static/cart.js:12:5`
fn gecko(line: &str) -> Option<Frame<'_>> {
    let (function, place) = line.trim().split_once('@')?;
    script(function, place)
}

fn script<'a>(function: &'a str, place: &'a str) -> Option<Frame<'a>> {
    let (rest, column) = place.rsplit_once(':')?;
    let (path, line) = rest.rsplit_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(column) || !is_number(line) {
        return None;
    }
    let function = function.strip_prefix("new ").unwrap_or(function);
    let function = function.split(" [as ").next().unwrap_or(function);
    let foreign = ["node_modules/", "node_modules\\", "internal/"];
    let is_own = !path.starts_with("node:") && !has_any(path, &foreign);
    Some(Frame {
        place: path,
        function,
        is_own,
    })
}

/// A line with the function, and one with the file behind a tab.
fn go(stack: &str) -> Vec<Frame<'_>> {
    // The first goroutine is the one that panicked.
    let mut lines = stack
        .lines()
        .skip_while(|line| !line.starts_with("goroutine "))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .take(LINES_MAX)
        .peekable();
    let mut frames = Vec::new();
    while let Some(line) = lines.next() {
        let Some(path) = lines.peek().and_then(|next| next.strip_prefix('\t')) else {
            continue;
        };
        let called = line.strip_prefix("created by ").unwrap_or(line);
        let called = called.rsplit_once('(').map_or(called, |(name, _)| name);
        let (package, function) = split_go(called);
        let foreign = [
            "/go/pkg/mod/",
            "/usr/local/go/",
            "/libexec/src/",
            "/vendor/",
        ];
        // The standard library lies below the directory of the toolchain, wherever that is.
        let is_standard = has_any(path, &["/src/runtime/", "/src/net/http/"]);
        frames.push(Frame {
            place: package,
            function,
            is_own: !has_any(path, &foreign) && !is_standard && called != "panic",
        });
    }
    frames
}

/// `github.com/acme/shop/cart.(*Cart).Checkout`: what is behind the last slash begins with the package.
fn split_go(called: &str) -> (&str, &str) {
    let base = called.rfind('/').map_or(0, |at| at + 1);
    let dot = called.get(base..).and_then(|rest| rest.find('.'));
    dot.and_then(|dot| called.split_at_checked(base + dot))
        .map_or(("", called), |(package, rest)| {
            (package, rest.strip_prefix('.').unwrap_or(rest))
        })
}

/// `  12: shop::cart::checkout`, with `at ./src/cart.rs:12:5` below it.
fn rust(stack: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut lines = stack.lines().take(LINES_MAX).peekable();
    while let Some(line) = lines.next() {
        let Some((number, called)) = line.trim_start().split_once(": ") else {
            continue;
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let path = lines
            .peek()
            .and_then(|next| next.trim_start().strip_prefix("at "));
        // 0x55d1c0ffee - shop::cart::checkout
        let called = called
            .split_once(" - ")
            .map_or(called, |(_, called)| called)
            .trim();
        let called = without_hash(called);
        let (module, function) = called.rsplit_once("::").unwrap_or(("", called));
        let foreign = [
            "std::", "core::", "alloc::", "tokio::", "<", "__", "rust_", "_start",
        ];
        let of_crates =
            path.is_some_and(|path| has_any(path, &["/rustc/", ".cargo/registry", ".cargo/git"]));
        let is_own = !of_crates
            && called != "main"
            && !foreign.iter().any(|start| called.starts_with(start));
        frames.push(Frame {
            place: module,
            function,
            is_own,
        });
    }
    frames
}

/// `checkout::h0123456789abcdef` without the end.
fn without_hash(called: &str) -> &str {
    match called.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) => {
            name
        }
        _ => called,
    }
}

fn has_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

/// A path or an address without its directories, a question or a content hash.
fn file_name(place: &str) -> &str {
    let path = place.split(['?', '#']).next().unwrap_or(place);
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A name without the numbers that compilers give to what has none: `lambda$3`, `func1`, `{{closure}}`.
fn push_stable(out: &mut String, name: &str) {
    out.extend(name.chars().filter(|character| !character.is_ascii_digit()));
}

#[cfg(test)]
mod tests;
