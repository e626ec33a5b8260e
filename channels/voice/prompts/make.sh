#!/bin/sh
# Makes the prompts beside this file again: flite speaks the words, sox trims, brings to -18 dBFS RMS and 8 kHz mu-law.
# The music is eight bars of plucked chords, 2.5 s each; every bar fades out, so the loop has no click.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say() { # name, words
	flite -voice slt -t "$2" -o "$tmp/$1.wav"
	sox "$tmp/$1.wav" -r 8000 -c 1 "$tmp/$1-8k.wav" silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse highpass 120
	level "$tmp/$1-8k.wav" "$1.wav"
}

level() { # in, out: RMS to -18 dBFS, never above full scale
	rms=$(sox "$1" -n stats 2>&1 | awk '/^RMS lev dB/ {print $4}')
	peak=$(sox "$1" -n stats 2>&1 | awk '/^Pk lev dB/ {print $4}')
	gain=$(awk -v r="$rms" -v p="$peak" 'BEGIN {g = -18 - r; if (p + g > -0.5) g = -0.5 - p; printf "%.2f", g}')
	sox -R "$1" -e mu-law -r 8000 -c 1 "$2" gain "$gain"
}

bar() { # number, bass, chord notes and a falling figure
	sox -R -n -r 8000 -c 1 "$tmp/bar$1.wav" synth 2.5 sine "$2" synth 2.5 sine mix "$3" fade q 0.05 2.5 1.2 gain -14
	sox -R -r 48000 -c 2 -n -r 8000 -c 1 "$tmp/one$1.wav" synth 2.5 pluck "$3" pluck "$4" delay 0 0.625 remix - fade q 0 2.5 0.4 gain -6
	sox -R -r 48000 -c 2 -n -r 8000 -c 1 "$tmp/two$1.wav" synth 1.25 pluck "$5" pluck "$4" delay 1.25 1.875 remix - trim 0 2.5 fade q 0 2.5 0.4 gain -8
	sox -R -m "$tmp/bar$1.wav" "$tmp/one$1.wav" "$tmp/two$1.wav" "$tmp/b$1.wav" trim 0 2.5
}

say greeting "Hello, and thank you for calling. I am an automatic assistant, not a person. Press 0 at any time to speak to a person. For our opening hours, press 1. For returns, press 2. To hear this again, press star."
say hours "We are open from Monday to Friday, from nine in the morning to six in the evening, and on Saturday from ten to two. To hear the choices again, press star. To speak to a person, press 0."
say returns "You can return anything that you bought from us within thirty days. Please keep your order number at hand; our web page explains each step. To hear the choices again, press star. To speak to a person, press 0."
say again "Are you still there? Press 0 to speak to a person, or star to hear the choices. If I hear nothing, I will get a person for you."
say unknown "Sorry, that key has no meaning here. Press 0 to speak to a person, or star to hear the choices."
say waiting "We are getting a person for you. Please stay on the line."
say back_in_line "Sorry, the connection to my colleague was lost. You are back in line, and first. Please stay on the line."
say not_reached "Sorry, nobody answered there. You are back in line, and first. Please stay on the line."
say recorded "This call is recorded."
say connecting "One moment, I am connecting you."
say echo_test "This is a test call. Speak now, and you will hear yourself after one second. Hang up when you are done."
say through "You are through to my colleague."
say through_read "You are through to my colleague, who has read what you said."
say not_taken "Sorry, my colleague could not take the call. You are back in line, and first."
say transcribed "What is said is written down."
say nobody_here "Nobody is here right now. You are in line, and a person will answer you as soon as we are back."
say voicemail_offer "To leave a message, press 3."
say voicemail "Please say your message after the tone. When you are done, press hash, or just hang up."
say voicemail_kept "Thank you. We have your message, and a person will answer it. Goodbye."
say voicemail_stays "Thank you. We have your message. You are still in line."
say voicemail_empty "I did not hear a message. You are still in line. To try again, press 3."
say voicemail_failed "Sorry, your message cannot be recorded now. You are still in line, please wait for a person."
say place_1 "You are next in line."
say place_2 "You are second in line."
say place_3 "You are third in line."
say place_4 "You are fourth in line."
say place_5 "You are fifth in line."
say place_6 "You are sixth in line."
say place_7 "You are seventh in line."
say place_8 "You are eighth in line."
say place_9 "You are ninth in line."
say place_10 "You are tenth in line."
say place_more "There are more than ten callers before you."
say wait_1 "It takes about a minute."
say wait_2 "It takes one to two minutes."
say wait_3 "It takes one to three minutes."
say wait_5 "It takes two to five minutes."
say wait_10 "It takes five to ten minutes."
say wait_20 "It takes ten to twenty minutes."
say wait_more "It may take more than twenty minutes."
say key_callback "To be called back without losing your place in line, press 2."
say callback_offer "It takes longer than usual. To be called back without losing your place in line, press 2."
say callback_at "We will call you at"
say callback_right "If that is right, press 1. For another number, press 2. To stay in line, press star."
say callback_type "Please type the number at which we can call you, with its area code, and then press hash. To stay in line, press star."
say callback_wrong "Sorry, we cannot call that number. Please type it again, with its area code, and then press hash. To stay in line, press star."
say callback_set "Thank you. We will call you back, and you keep your place in line. Goodbye."
say callback_set_open "Thank you. We will call you as soon as we are here again. Goodbye."
say callback_failed "Sorry, we cannot call you back. You are still in line, at the same place."
say place_kept "Welcome back. You have your place in line again. Please stay on the line."
say digit_plus "plus"
say digit_0 "zero"
say digit_1 "one"
say digit_2 "two"
say digit_3 "three"
say digit_4 "four"
say digit_5 "five"
say digit_6 "six"
say digit_7 "seven"
say digit_8 "eight"
say digit_9 "nine"
say callback_when "When shall we call you?"
say callback_opening "As soon as we are back,"
say callback_stay "To stay in line, press star."
say callback_then "We will call you"
say callback_again "If that is right, press 1. For another time, press 2. To stay in line, press star."
say callback_set_time "Thank you. We will call you then. Goodbye."
say day_today "today"
say day_tomorrow "tomorrow"
say day_0 "on Sunday"
say day_1 "on Monday"
say day_2 "on Tuesday"
say day_3 "on Wednesday"
say day_4 "on Thursday"
say day_5 "on Friday"
say day_6 "on Saturday"
say hour_0 "at midnight"
say hour_1 "at one in the morning"
say hour_2 "at two in the morning"
say hour_3 "at three in the morning"
say hour_4 "at four in the morning"
say hour_5 "at five in the morning"
say hour_6 "at six in the morning"
say hour_7 "at seven in the morning"
say hour_8 "at eight in the morning"
say hour_9 "at nine in the morning"
say hour_10 "at ten in the morning"
say hour_11 "at eleven in the morning"
say hour_12 "at noon"
say hour_13 "at one in the afternoon"
say hour_14 "at two in the afternoon"
say hour_15 "at three in the afternoon"
say hour_16 "at four in the afternoon"
say hour_17 "at five in the afternoon"
say hour_18 "at six in the evening"
say hour_19 "at seven in the evening"
say hour_20 "at eight in the evening"
say hour_21 "at nine in the evening"
say hour_22 "at ten in the evening"
say hour_23 "at eleven in the evening"
say press_1 "press 1."
say press_2 "press 2."
say press_3 "press 3."

bar 1 C3 C4 E4 G4
bar 2 A2 A3 C4 E4
bar 3 F2 F3 A3 C4
bar 4 G2 G3 B3 D4
bar 5 E3 E4 G4 B4
bar 6 A2 A3 E4 C5
bar 7 D3 D4 F4 A4
bar 8 G2 G3 D4 B4
sox -R "$tmp"/b1.wav "$tmp"/b2.wav "$tmp"/b3.wav "$tmp"/b4.wav "$tmp"/b5.wav "$tmp"/b6.wav "$tmp"/b7.wav "$tmp"/b8.wav "$tmp/music.wav" lowpass 3200
level "$tmp/music.wav" music.wav
