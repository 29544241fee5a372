"""The words of STORIES: sentence templates and the tables of what is remembered.

Template language (parsed in `stories.py`):

    word , .            cells, written as they appear
    (a|b *3|)           one alternative, drawn by weight (1 unless `*w` ends it); may be empty
    <rule>              another template of RULES
    @thing              draws the memory variable `thing` silently, by DRAWS
    {thing.noun}        the template kept under `noun` for the remembered thing

Lengths are balanced by hand: a long `help` goes with a short `close`, so every story has 30 to 63 cells.
"""

TABLES: dict[str, dict[str, dict[str, str]]] = {
    "place": {
        "harbour": {
            "full": "in a <mood> harbour town", "bare": "in a harbour town", "the": "harbour",
            "folk": "the (boats *3|sailors *2|fishermen|seals)",
        },
        "forest": {
            "full": "in a <mood> forest", "bare": "in a forest", "the": "forest",
            "folk": "the (birds *3|squirrels *2|deer *2|wolves)",
        },
        "village": {
            "full": "in a <mood> mountain village", "bare": "in a mountain village", "the": "village",
            "folk": "the (children *3|bakers *2|goats *2|chickens)",
        },
        "island": {
            "full": "on a <mood> island", "bare": "on an island", "the": "island",
            "folk": "the (whales *3|crabs *2|ships *2|seals)",
        },
        "garden": {
            "full": "in a <mood> garden", "bare": "in a garden", "the": "garden",
            "folk": "the (bees *3|roses *2|butterflies *2|worms)",
        },
        "marsh": {
            "full": "in a <mood> marsh", "bare": "in a marsh", "the": "marsh",
            "folk": "the (frogs *3|ducks *2|dragonflies *2|geese)",
        },
    },
    "thing": {
        "bell": {
            "noun": "bell",
            "a": "(a (brass *4|silver *3|little *2|cracked *2|copper *2|golden *2|dented) bell *8|an old bell)",
            "past": "rang", "now": "rings", "base": "ring", "to": "for", "notice": "hear",
            "broke": "(lost its voice *3|would not ring *2|fell silent)",
            "fix": "<inside>",
        },
        "lantern": {
            "noun": "lantern",
            "a": "(a (red *4|paper *3|little *2|crooked *2|golden *2|copper *2|dented) lantern *8|an old lantern)",
            "past": "lit", "now": "lights", "base": "light", "to": "for", "notice": "see",
            "broke": "(went dark *3|would not light *2|only smoked)",
            "fix": "<inside>",
        },
        "drum": {
            "noun": "drum",
            "a": "(a (painted *4|round *3|little *2|leather *3|red *2|blue *2|dented) drum *8|an old drum)",
            "past": "played", "now": "plays", "base": "play", "to": "for", "notice": "hear",
            "broke": "(lost its boom *3|fell silent *2|split)",
            "fix": "<inside>",
        },
        "kite": {
            "noun": "kite",
            "a": "(a (paper *4|yellow *3|striped *3|red *3|spotted *2|silk *2|golden) kite *8|an enormous kite)",
            "past": "flew", "now": "flies", "base": "fly", "to": "for", "notice": "see",
            "broke": "(tore *3|would not fly *2|lost its tail *2)",
            "fix": "<patch>",
        },
        "fiddle": {
            "noun": "fiddle",
            "a": "(a (wooden *4|crooked *3|little *2|borrowed *2|golden *2|painted *2|dusty) fiddle *8|an old fiddle)",
            "past": "played", "now": "plays", "base": "play", "to": "for", "notice": "hear",
            "broke": "(lost a string *3|fell silent *2|only squeaked *2)",
            "fix": "<inside>",
        },
        "whistle": {
            "noun": "whistle",
            "a": "(a (tin *4|silver *3|wooden *3|little *2|brass *2|copper *2|dented) whistle *8|an old whistle)",
            "past": "blew", "now": "blows", "base": "blow", "to": "for", "notice": "hear",
            "broke": "(only sneezed *3|lost its voice *2|fell silent)",
            "fix": "<inside>",
        },
        "clock": {
            "noun": "clock",
            "a": "(a (brass *3|tall *4|painted *2|crooked *2|golden *2|wooden *2|dusty) clock *8|an old clock)",
            "past": "wound", "now": "winds", "base": "wind", "to": "for", "notice": "hear",
            "broke": "(stopped *3|ran backwards *3|would not tick)",
            "fix": "<inside>",
        },
        "umbrella": {
            "noun": "umbrella",
            "a": """(a (yellow *4|striped *3|blue *3|silk *2|spotted *3|red *2|crooked) umbrella *8
                |an enormous umbrella *2)""",
            "past": "opened", "now": "opens", "base": "open", "to": "for", "notice": "see",
            "broke": "(tore *2|would not open *3|began to leak *2)",
            "fix": "<patch>",
        },
        "book": {
            "noun": "book",
            "a": "(a (blue *3|heavy *3|little *3|leather *2|dusty *3|borrowed *2|secret *2) book *8|an old book *2)",
            "past": "read", "now": "reads", "base": "read", "to": "to", "notice": "hear",
            "broke": "(lost a page *3|lost its ending *3|would not open)",
            "fix": "<patch>",
        },
        "teapot": {
            "noun": "teapot",
            "a": "(a (blue *4|copper *3|cracked *3|round *2|spotted *2|yellow *2|dented) teapot *8|an enormous teapot)",
            "past": "filled", "now": "fills", "base": "fill", "to": "for", "notice": "see",
            "broke": "(lost its lid *3|began to leak *3|would not pour)",
            "fix": "<inside>",
        },
    },
    "animal": {
        "fox": {"noun": "fox", "a": "a fox"},
        "mouse": {"noun": "mouse", "a": "a mouse"},
        "hare": {"noun": "hare", "a": "a hare"},
        "otter": {"noun": "otter", "a": "an otter"},
        "bear": {"noun": "bear", "a": "a bear"},
        "hedgehog": {"noun": "hedgehog", "a": "a hedgehog"},
        "cat": {"noun": "cat", "a": "a cat"},
        "badger": {"noun": "badger", "a": "a badger"},
        "elephant": {"noun": "elephant", "a": "an elephant"},
    },
    "hero": {name: {"name": name} for name in ("mina", "tilly", "ada", "nell", "pip", "otto", "bram", "hugo")},
    "who": {
        "she": {"she": "she", "her": "her", "hers": "her"},
        "he": {"she": "he", "her": "him", "hers": "his"},
    },
    "helper": {name: {"noun": name} for name in
               ("owl", "gull", "mole", "crow", "goat", "tortoise", "snail", "toad", "heron")},
}

# variable -> (the variable it depends on, {that one's value: {value: weight}})
DRAWS: dict[str, tuple[str | None, dict[str, dict[str, float]]]] = {
    "place": (None, {"": {"harbour": 5, "forest": 4, "village": 3, "island": 3, "garden": 3, "marsh": 2}}),
    "thing": ("place", {
        "harbour": {"bell": 4, "lantern": 3, "whistle": 3},
        "forest": {"drum": 3, "fiddle": 3, "lantern": 3},
        "village": {"clock": 4, "bell": 2, "teapot": 3},
        "island": {"kite": 4, "umbrella": 3, "whistle": 2},
        "garden": {"teapot": 3, "umbrella": 3, "book": 3},
        "marsh": {"fiddle": 3, "drum": 2, "lantern": 3},
    }),
    "animal": (None, {"": {"fox": 5, "mouse": 4, "hare": 3, "otter": 3, "bear": 3, "hedgehog": 3, "cat": 2,
                           "badger": 2, "elephant": 1}}),
    "hero": (None, {"": {"mina": 5, "tilly": 4, "ada": 3, "nell": 3, "pip": 5, "otto": 4, "bram": 3,
                         "hugo": 3}}),
    "who": ("hero", {"mina": {"she": 1}, "tilly": {"she": 1}, "ada": {"she": 1}, "nell": {"she": 1},
                     "pip": {"he": 1}, "otto": {"he": 1}, "bram": {"he": 1}, "hugo": {"he": 1}}),
    "helper": ("place", {
        "harbour": {"owl": 3, "gull": 3},
        "forest": {"owl": 4, "mole": 2},
        "village": {"crow": 3, "goat": 3},
        "island": {"gull": 3, "tortoise": 4},
        "garden": {"snail": 4, "mole": 2},
        "marsh": {"heron": 3, "toad": 4},
    }),
}

RULES: dict[str, str] = {
    "story": "@place @thing @animal @hero @who <opening> <habit> @helper <middle>",

    # --- who, where, and what (at most 17 cells)
    "opening": """((once *5|somewhere *3) , {place.full} , {animal.a} <named> {hero.name} <kept> {thing.a} . *4
        |(once *5|somewhere *3) , {place.bare} , <kind> {animal.noun} <named> {hero.name} <kept> {thing.a} . *4
        |long ago , {place.bare} , {animal.a} <named> {hero.name} <kept> {thing.a} . *1
        |<kind> {animal.noun} <named> {hero.name} lived {place.bare} , and <kept> {thing.a} . *3
        |{hero.name} was <kind> {animal.noun} with {thing.a} . {who.she} lived {place.bare} . *3)""",
    "named": "(named *3|called *2)",
    "kept": "(kept *3|had *2|owned *2)",
    "mood": """(small *4|quiet *4|windy *3|misty *3|sleepy *3|sunny *3|secret *2|snowy *2|lonely *2|little *2|green *2
        |foggy *2|wild *2|faraway *2|rainy)""",
    "mind": """(shy *4|young *4|curious *4|brave *3|polite *3|cheerful *3|clumsy *3|dreamy *3|sleepy *2|tiny *2
        |plump *2|proud *2|clever *2|grumpy *2|gentle *2|patient|famous|wise|lonely|spotted)""",
    "kind": "(a <mind> *10|an (honest|eager))",
    # for any small object: colours, sizes and ways to be that suit a hat as well as a stone
    "adj": "(<feel> *3|<colour> *2)",

    "feel": """(tiny *4|soft *3|crooked *3|round *3|heavy *3|dusty *3|borrowed *3|secret *3|forgotten *3|famous *2
        |long *2|big *2)""",
    "colour": """(red *4|blue *3|yellow *3|striped *3|painted *3|green *2|spotted *3|golden *2|silver *2|wooden *2
        |paper *2)""",
    "shape": "(tiny *3|round *3|crooked *3|big *2|secret *2|famous *2|soft *2|heavy *2)",

    # --- a habit (at most 10 cells)
    "habit": """(<every> {who.she} {thing.past} it {thing.to} {place.folk} . *3
        |{who.she} {thing.past} it <proudly> <every> {thing.to} {place.folk} . *4
        |{who.she} {thing.past} it <every> , <manner> . *2
        |(at <hour>|<every>) {who.she} {thing.past} it and {place.folk} <answered> . *3
        |{who.she} loved it more than <treat> . *3
        |(nobody *2|no king) could {thing.base} it so <proudly> . *1
        |*2)""",
    "every": "(every *3|each) <day>",
    "day": """(morning *4|evening *4|night *3|sunday *3|monday *2|friday *2|winter *2|spring *2|summer *2
        |afternoon *2)""",
    "proudly": """(proudly *4|gently *3|slowly *3|gladly *3|carefully *2|happily *2|bravely *2|politely *2|quietly *2
        |grandly)""",
    "hour": "(dawn *4|dusk *4|noon *3|midnight *3|sunrise *2|sunset *2|teatime *2)",
    "manner": """(rain or shine *3|just for fun *3|never once late *2|humming a tune *2|in striped socks *2
        |wearing a hat *2)""",
    "answered": """(listened *3|smiled *3|cheered *3|danced *3|waved *3|clapped *2|yawned *2|bowed *2|blushed *2
        |laughed *2|wept|sang *2)""",
    "treat": """(honey *4|cheese *4|cake *3|soup *3|toast *2|pancakes *3|dumplings *2|biscuits *2|puddles *2|summer *2
        |birthdays *2|sleep *2|(plum *3|apple *3|pumpkin *2) (jam|pie *2) *5|warm bread *2)""",

    # --- trouble, someone to ask (together at most 16 cells), help, and an ending
    "middle": """(<when> <lost> <ask> (<lost_kept> *1|<lost_long> <close> *5|<lost_short> <ending> *4) *4
        |<when> the {thing.noun} {thing.broke} <ask> (<fix_long> <close> *3|<fix_short> <ending> *2) *4
        |<when> it <stuck> <ask> (<stuck_long> <close> *3|<stuck_short> <ending> *2) *3)""",
    "when": """((one *4|then one|but one *2) (night *4|morning *3|evening *2|sunday|winter|afternoon *2) *4
        |one (<weather> (night *3|morning *2|evening *2|afternoon) *9|sunny (morning|afternoon) *1
        |moonless (night *3|evening) *1) *5)""",
    "weather": """(windy *4|rainy *4|foggy *3|cold *3|snowy *3|quiet *2|misty *2|dreamy *2|grumpy *2)""",
    "lost": "the {thing.noun} (was gone *4|was missing *2|vanished *3)",
    "stuck": """((fell *3|rolled *2|slipped *2) into a (well *3|pond *3|ditch *3|haystack *2|barrel *2|chimney *2
        |bathtub *2|puddle *2) *3|landed in a (tree *3|hedge *3|chimney *2|drainpipe *2|bathtub *2) *2)""",
    "ask": """, (so *3|and) {hero.name} (asked *4|visited *3|woke *3|called *3|told *2|fetched *3) the <wise>
        {helper.noun} .""",
    "wise": """(old *5|wise *4|kind *4|sleepy *3|clever *3|grumpy *3|gentle *3|patient *3|famous *2|learned *2
        |plump *2|proud *2|cheerful *2|polite *2)""",

    # long helps, at most 13 cells; they need only place and pronoun afterwards
    "lost_kept": "the {helper.noun} had kept it (dry *3|safe *2|warm *2) , and gave it back to {who.her} .",
    "lost_long": """(the {helper.noun} had found it <hidden> . *4
        |the {helper.noun} had borrowed it , and gave {who.her} <gift> . *3
        |they searched <long> , and found it <hidden1> . *3)""",
    "hidden": "((under *3|behind *2) a <feel> <colour> <cover> *3|(in *2|inside) a <feel> <colour> <box> *2)",
    "hidden1": "((under *3|behind *2) a <adj> <cover> *3|in a <adj> <box> *2)",
    "cover": "(leaf *3|hat *3|bush *3|barrel *2|stone *3|cabbage *2|cloud *2|wheelbarrow *2|mushroom *3|chair *2)",
    "box": "(nest *3|boot *3|basket *3|bucket *2|pocket *2|cupboard *2|teacup *2|stocking *2)",
    "long": "(all night *4|all day *3|until dawn *3|for hours *2|for weeks *2)",
    "gift": "(a <adj> <present> *3|<food> *2)",
    "present": """(hat *4|scarf *4|spoon *3|ribbon *3|button *3|basket *2|flower *3|cake *2|pie *2|chair
        |sweater *2|boat *2)""",
    "food": """(pancakes *4|soup *4|cake *3|cheese *3|dumplings *2|biscuits *2|honey *3|toast *2|jam *2|noodles *2
        |tea *2)""",

    "fix_long": "(the {helper.noun} mended it with <stuff> and <grace> . *3|{thing.fix} *6)",
    "stuff": """(string *4|wax *4|honey *3|moss *3|ribbon *2|glue *3|silk *3|feathers *3|buttons *2|straw *2|toffee *2
        |toast)""",
    "grace": "(<luck> *4|a song *2|a smile *2|a (kind *2|secret *2|gentle) word *3)",
    "luck": "(patience *4|care *2|luck *3|love *3|magic *2)",
    "inside": """(the {helper.noun} found a <mind> <bug> inside , and woke it <gently> . *3
        |the {helper.noun} (shook *3|tapped *3|turned *2|tickled *2) it , and out (fell *2|rolled *2|tumbled) a
        <feel> <colour> <trinket> . *4)""",
    "bug": "(bee *4|moth *3|beetle *3|spider *3|cricket *3|worm *2|butterfly *2)",
    "gently": "(gently *4|politely *3|slowly *2|carefully *2)",
    "trinket": "(pea *3|pearl *3|sock *3|plum *2|marble *3|spoon *2|button *3|stone *2|mushroom *2|biscuit *2|snail)",
    "patch": """the {helper.noun} (patched *2|sewed|mended) it with (thread *3|string *2|silk *2|ribbon *2) from a
        <feel> <colour> (stocking *3|curtain *3|sail *2|sweater *2|hat *2|scarf *2|sock *2) .""",

    "stuck_long": """(the {helper.noun} <pulled> it out with a <feel> <colour> <tool> and <luck> . *4
        |they pulled , and out it came with a <noise> . *2
        |the {helper.noun} tied it to a <feel> <colour> (rope *3|string *2|ribbon *2)
            and (pulled *3|sang *2|sneezed *2) . *3)""",
    "pulled": "(pulled *3|fished *3|lifted *3|coaxed *3|tickled)",
    "tool": "(spoon *4|hook *3|ribbon *2|ladder *3|broom *3|rope *2|scarf *2|biscuit)",
    "noise": "<loud> (pop *4|splash *3|sneeze *3|sigh *3|plop *3|bang *2)",
    "loud": "(loud *4|soft *3|tiny *3|polite *3|cheerful *2|grumpy *2)",

    # short helps, at most 8 cells
    "lost_short": """(the {helper.noun} had kept it (dry *3|safe *2|warm *2) . *1|they found it <hidden1> . *3)""",
    "fix_short": "the {helper.noun} (mended *4|repaired *3|fixed *3) it with <stuff> .",
    "stuck_short": "the {helper.noun} <pulled> it out (<gently> *3|with (cheese *2|honey *2|string *2|patience) *2) .",

    # a short ending after a long help: place and pronoun come back (at most 7 cells)
    "close": """(*3
        |the whole {place.the} <rejoiced> . *4
        |they had <supper> for supper . *3
        |{who.she} (made *4|cooked *3|bought *2) <dish> for {place.folk} . *5
        |{who.she} (danced *3|skipped *2|hummed *2|sang) all the way home . *1
        |now they are (best *3|dear *2|good) friends . *1)""",
    "rejoiced": """(cheered *4|danced *4|sang *3|slept well *3|smelled of (cake *2|soup|honey) *3|laughed *3|clapped *2
        |had a party *2)""",
    "dish": "(pancakes *4|soup *4|dumplings *3|noodles *3|biscuits *3|toast *2|jam *2|tea *2|cake *2)",
    "supper": """(pancakes *4|hot soup *3|(plum *3|apple *3|pumpkin *2) (cake *2|pie *3) *5|dumplings *3|warm bread *2
        |cheese *2|toast|noodles *2)""",

    # a long ending after a short help: pronoun, thing, place and helper come back (at most 12 cells)
    "ending": """(now {who.she} {thing.now} it {thing.to} {place.folk} and the {helper.noun} . *4
        |that (night *2|evening) they {thing.past} it together , and the {place.the} <rejoiced1> . *3
        |visit the {place.the} at <hour> , and you (may *2|might *2|will) {thing.notice} it . *2
        |since then the {helper.noun} comes <every> for <food> . *4
        |to thank the {helper.noun} , {who.she} <made> . *4
        |{who.she} gave the {helper.noun} a <feel> <colour> <present> and <food> . *4)""",
    "rejoiced1": "(cheered *4|danced *4|sang *3|listened *3|laughed *3|clapped *2|blushed *2)",
    "made": """(baked a <shape> (plum *2|apple|pumpkin *2) (pie|cake) *3
        |(knitted *3|sewed) a <feel> <colour> (hat *3|scarf *3|sweater *2|sock *2) *4
        |wrote a <feel> <sort> (poem *2|song *2|letter *2) *3
        |painted a <feel> <colour> (boat|hat|flower *2|fish|cloud) *2)""",
    "sort": "(silly *3|funny *3|polite *2|cheerful *2|grumpy *2|quiet *2|gentle *2)",
}
