;; Reads field lines (RFC 9112 §5) sixteen octets at a time: as many whole ones as there are that a plain look finds nothing wrong with.
;; The first line that is anything else (its end not here, an octet that does not belong, too long) is left to request-parser.ts, which knows
;; what to say about it; so nothing here decides what an error is. The bytes in field-line-scanner.ts are this text, assembled by
;; test/support/wat.ts; `WIRELET_UPDATE=1 node build/test/run.js field-line-scanner` writes them anew.
;;
;; Memory: [0, 131072) the octets; from 131072 on four i32 for each line found: name start, name end, value start, value end, all counted from
;; $head; behind the last of them the position of what follows. A load may reach 16 octets behind $end, never out of the memory; what it sees
;; there cannot matter, because a line counts only if it ends before $end.
(module
  (import "parser" "memory" (memory 3))
  (func (export "scan")
    (param $pos i32) (param $end i32) (param $head i32) (param $maxLine i32) (param $maxLines i32) (result i32)
    (local $line i32) (local $value i32) (local $stop i32) (local $octet i32) (local $out i32) (local $last i32) (local $octets v128)
    (local.set $out (i32.const 131072))
    (local.set $last (i32.add (i32.const 131072) (i32.shl (local.get $maxLines) (i32.const 4))))
    (block $done
      (loop $nextLine
        (i32.store (local.get $out) (i32.sub (local.get $pos) (local.get $head)))
        (br_if $done (i32.eq (local.get $out) (local.get $last)))
        (local.set $line (local.get $pos))

        ;; field-name = 1*tchar: a table for each half of the octet, with one bit for each upper half from 2 to 7.
        (loop $name
          (br_if $done (i32.ge_u (local.get $pos) (local.get $end)))
          (local.set $octets (v128.load align=1 (local.get $pos)))
          (local.set $stop (i8x16.bitmask (i8x16.eq (v128.const i8x16 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0)
            (v128.and
              (i8x16.swizzle
                ;;                  0    1    2    3    4    5    6    7    8    9    a    b    c    d    e    f
                (v128.const i8x16 0x3a 0x3f 0x3e 0x3f 0x3f 0x3f 0x3f 0x3f 0x3e 0x3e 0x3d 0x15 0x34 0x15 0x3d 0x1c)
                (v128.and (local.get $octets) (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15)))
              (i8x16.swizzle
                (v128.const i8x16 0 0 1 2 4 8 16 32 0 0 0 0 0 0 0 0)
                (i8x16.shr_u (local.get $octets) (i32.const 4)))))))
          (if (i32.eqz (local.get $stop)) (then
            (local.set $pos (i32.add (local.get $pos) (i32.const 16)))
            (br $name))))
        (local.set $pos (i32.add (local.get $pos) (i32.ctz (local.get $stop))))
        (br_if $done (i32.eq (local.get $pos) (local.get $line)))
        (br_if $done (i32.ne (i32.load8_u (local.get $pos)) (i32.const 0x3a)))
        (i32.store offset=4 (local.get $out) (i32.sub (local.get $pos) (local.get $head)))

        ;; OWS = *( SP / HTAB )
        (loop $whitespace
          (local.set $pos (i32.add (local.get $pos) (i32.const 1)))
          (br_if $done (i32.ge_u (local.get $pos) (local.get $end)))
          (local.set $octet (i32.load8_u (local.get $pos)))
          (br_if $whitespace (i32.eq (local.get $octet) (i32.const 0x20)))
          (br_if $whitespace (i32.eq (local.get $octet) (i32.const 0x09))))
        (i32.store offset=8 (local.get $out) (i32.sub (local.get $pos) (local.get $head)))
        (local.set $value (local.get $pos))

        ;; field-value = *( HTAB / SP / VCHAR / obs-text ): it stops at DEL, and at what is below SP and not HTAB.
        (loop $content
          (br_if $done (i32.ge_u (local.get $pos) (local.get $end)))
          (local.set $octets (v128.load align=1 (local.get $pos)))
          (local.set $stop (i8x16.bitmask (v128.or
            (i8x16.eq (local.get $octets) (v128.const i8x16 127 127 127 127 127 127 127 127 127 127 127 127 127 127 127 127))
            (v128.andnot
              (i8x16.lt_u (local.get $octets) (v128.const i8x16 32 32 32 32 32 32 32 32 32 32 32 32 32 32 32 32))
              (i8x16.eq (local.get $octets) (v128.const i8x16 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9))))))
          (if (i32.eqz (local.get $stop)) (then
            (local.set $pos (i32.add (local.get $pos) (i32.const 16)))
            (br $content))))
        (local.set $pos (i32.add (local.get $pos) (i32.ctz (local.get $stop))))

        ;; CRLF, and the line not longer than it may be
        (br_if $done (i32.gt_u (i32.add (local.get $pos) (i32.const 2)) (local.get $end)))
        (br_if $done (i32.ne (i32.load16_u align=1 (local.get $pos)) (i32.const 0x0a0d)))
        (br_if $done (i32.gt_u (i32.sub (local.get $pos) (local.get $line)) (local.get $maxLine)))

        ;; OWS behind the value
        (local.set $stop (local.get $pos))
        (block $trimmed
          (loop $trim
            (br_if $trimmed (i32.eq (local.get $stop) (local.get $value)))
            (local.set $octet (i32.load8_u (i32.sub (local.get $stop) (i32.const 1))))
            (if (i32.or (i32.eq (local.get $octet) (i32.const 0x20)) (i32.eq (local.get $octet) (i32.const 0x09))) (then
              (local.set $stop (i32.sub (local.get $stop) (i32.const 1)))
              (br $trim)))))
        (i32.store offset=12 (local.get $out) (i32.sub (local.get $stop) (local.get $head)))

        (local.set $pos (i32.add (local.get $pos) (i32.const 2)))
        (local.set $out (i32.add (local.get $out) (i32.const 16)))
        (br $nextLine)))
    (i32.shr_u (i32.sub (local.get $out) (i32.const 131072)) (i32.const 4))))
