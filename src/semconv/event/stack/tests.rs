use proptest::prelude::*;

use super::*;

/// What is told of each frame, innermost first: `place:function`, own ones with a star.
fn read(stack: &str) -> Vec<String> {
    let frames = frames(stack).into_iter();
    let told = frames.map(|frame| {
        let own = if frame.is_own { "*" } else { "" };
        format!("{own}{}:{}", frame.place, frame.function)
    });
    told.collect()
}

const PYTHON: &str = r#"Traceback (most recent call last):
  File "/app/shop/old.py", line 3, in first
    raise KeyError
KeyError

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/flask/app.py", line 1478, in __call__
    return self.wsgi_app(environ)
  File "/app/shop/web.py", line 20, in view
    checkout(cart)
  File "/app/shop/cart.py", line 12, in checkout
    charge(total)
  File "/usr/lib/python3.11/site-packages/stripe/api.py", line 9, in post
ValueError: bad total
"#;

#[test]
fn python_tells_the_innermost_last() {
    assert_eq!(
        read(PYTHON),
        [
            "/usr/lib/python3.11/site-packages/stripe/api.py:post",
            "*/app/shop/cart.py:checkout",
            "*/app/shop/web.py:view",
            "/usr/lib/python3.11/site-packages/flask/app.py:__call__",
        ]
    );
    assert_eq!(signature(PYTHON), "cart.py:checkout\nweb.py:view\n");
}

#[test]
fn javascript_is_read_from_every_engine() {
    let v8 = "TypeError: x is not a function\n    at Cart.checkout (file:///app/src/cart.js:12:5)\n    \
        at async Promise.all (index 0)\n    at async /app/src/main.js:1:2\n    \
        at Layer.handle [as handle_request] (/app/node_modules/express/lib/router/layer.js:95:5)\n    \
        at new Server (node:internal/server:10:1)";
    assert_eq!(
        read(v8),
        [
            "*file:///app/src/cart.js:Cart.checkout",
            "*/app/src/main.js:",
            "/app/node_modules/express/lib/router/layer.js:Layer.handle",
            "node:internal/server:Server",
        ]
    );
    assert_eq!(signature(v8), "cart.js:Cart.checkout\nmain.js:\n");
    let gecko =
        "checkout@https://shop.example/static/cart.js?v=17:12:5\n@https://shop.example/app.js:1:1";
    assert_eq!(signature(gecko), "cart.js:checkout\napp.js:\n");
}

#[test]
fn java_is_read_from_its_cause() {
    let java = "com.acme.ShopException: failed\n\tat com.acme.Web.view(Web.java:9)\n\
        Caused by: java.lang.IllegalStateException: bad\n\
        \tat java.base/java.util.Optional.get(Optional.java:143)\n\
        \tat com.acme.Cart.lambda$checkout$3(Cart.java:12)\n\
        \tat com.acme.Shop$$EnhancerBySpringCGLIB$$1f.run(Unknown Source)\n\t... 42 more";
    assert_eq!(
        read(java),
        [
            "java.util.Optional:get",
            "*com.acme.Cart:lambda$checkout$3",
            "*com.acme.Shop$$EnhancerBySpringCGLIB$$1f:run",
        ]
    );
    assert_eq!(
        signature(java).lines().next(),
        Some("com.acme.Cart:lambda$checkout$")
    );
}

#[test]
fn dot_net_is_read() {
    let stack = "System.InvalidOperationException: bad\n   \
        at System.Linq.ThrowHelper.ThrowNoElements()\n   \
        at Acme.Shop.Cart.Checkout(String id, Int32 n) in /app/Cart.cs:line 12";
    assert_eq!(
        read(stack),
        [
            "System.Linq.ThrowHelper:ThrowNoElements",
            "*Acme.Shop.Cart:Checkout"
        ]
    );
}

#[test]
fn go_is_read_from_the_goroutine_that_panicked() {
    let stack = "panic: runtime error: index out of range [5]\n\ngoroutine 1 [running]:\n\
        panic({0x1008c1a20, 0x14000112018})\n\t/usr/local/go/src/runtime/panic.go:770 +0x124\n\
        github.com/acme/shop/cart.(*Cart).Checkout(0x14000098f28?)\n\t/app/cart/cart.go:12 +0x20\n\
        main.main.func1()\n\t/app/main.go:9 +0x1c\n\n\
        goroutine 7 [select]:\nmain.other()\n\t/app/main.go:40 +0x1c";
    assert_eq!(
        read(stack),
        [
            ":panic",
            "*github.com/acme/shop/cart:(*Cart).Checkout",
            "*main:main.func1",
        ]
    );
    assert_eq!(signature(stack), "cart:(*Cart).Checkout\nmain:main.func\n");
}

#[test]
fn rust_is_read_with_and_without_addresses() {
    let stack = "   0: std::panicking::begin_panic\n             at /rustc/abc/library/std/src/panicking.rs:1:5\n   \
        1: shop::cart::checkout::h0123456789abcdef\n             at ./src/cart.rs:12:5\n   \
        2:     0x55d1c0ffee - shop::main\n";
    assert_eq!(
        read(stack),
        [
            "std::panicking:begin_panic",
            "*shop::cart:checkout",
            "*shop:main"
        ]
    );
}

// Guarantees: another build, machine or goroutine is the same bug; another function is another one; a
// stack of libraries alone is told by them.
#[test]
fn what_changes_from_build_to_build_is_left_out() {
    let moved = PYTHON
        .replace("/app/", "/srv/release-17/")
        .replace("line 12", "line 99")
        .replace("bad total", "worse total");
    assert_eq!(signature(&moved), signature(PYTHON));
    assert_ne!(
        signature(&PYTHON.replace("checkout", "refund")),
        signature(PYTHON)
    );
    let libraries = "Error: x\n    at get (/a/node_modules/b/c.js:1:2)";
    assert_eq!(signature(libraries), "c.js:get\n");
    for nothing in [
        "",
        "just a message",
        "at the end of the day (or so)",
        "12: 30",
    ] {
        assert!(
            signature(nothing).len() < 10,
            "{nothing}: {}",
            signature(nothing)
        );
    }
    let endless = "    at f (/app/x.js:1:2)\n".repeat(100_000);
    assert_eq!(signature(&endless), "x.js:f\n".repeat(FRAMES_MAX));
}

proptest! {
    // Guarantees: no text makes it panic, and what it answers is short.
    #[test]
    fn any_text_is_read(text in "(at |File \"|goroutine |\t|\n|[a-z]{1,5}|[:(@.,\" )/0-9é]){0,60}") {
        prop_assert!(signature(&text).len() <= text.len() + 2 * FRAMES_MAX);
    }
}
