# Draws text repeatedly on the terminal's alternate screen, and restores the screen at the end.
#
# During a wait ctrl-c arrives as a key. During the drawing ctrl-c raises an error, which `main` catches.

# ENTER selects the alternate screen, without cursor and without line wrap; LEAVE restores the terminal.
const ENTER = "\e[?1049h\e[?25l\e[?7l"
const LEAVE = "\e[?7h\e[?25h\e[?1049l"

# Draws the result of `frame` for a size of `columns` and `rows`, again after each interval, key or resize, until `q`, escape or
# ctrl-c.
export def main [interval: duration, frame: closure]: nothing -> nothing {
    if not ((is-terminal --stdout) and (is-terminal --stdin)) {
        error make --unspanned {
            msg: "cannot draw a live table: there is no terminal"
            code: "service::no_terminal"
            help: "in a script use `service status`, or `service events --follow`"
        }
    }
    print --no-newline $ENTER
    let error = try { redraw $interval $frame; null } catch {|error| $error }
    print --no-newline $LEAVE
    if $error != null and not (is-interrupt $error) { error make --unspanned { msg: $error.msg } }
}

def redraw [interval: duration, frame: closure]: nothing -> nothing {
    loop {
        draw $frame
        if (is-quit (read-event $interval)) { break }
    }
}

# A key or a resize; null if there was none.
def read-event [interval: duration]: nothing -> any {
    try { input listen --types [key resize] --timeout $interval } catch {|error|
        if $error.msg !~ "^Timed out" { error make $error }
        null
    }
}

def draw [frame: closure]: nothing -> nothing {
    let size = term size
    let text = try { do $frame $size } catch {|error|
        if (is-interrupt $error) { error make $error }
        $"(ansi red)($error.msg)(ansi reset)"
    }
    let lines = $text | lines | first ($size.rows - 1) | each {|line| $"($line)\e[K" }
    print --no-newline $"\e[H($lines | str join "\r\n")\e[J"
}

def is-quit [event: any]: nothing -> bool {
    if $event == null or $event.type? != key { return false }
    let control = $event.modifiers? | default [] | any {|modifier| $modifier =~ control }
    $event.code? in [q esc] or ($control and $event.code? in [c d])
}

# Whether an error is ctrl-c.
export def is-interrupt [error: any]: nothing -> bool {
    $error.msg == "Operation interrupted"
}
