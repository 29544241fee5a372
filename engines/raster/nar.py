NET = "neighbours/nar"
