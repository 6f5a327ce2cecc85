"""Things that people may like, for generated LIMIT-style sets.

Written for this library. `KINDS` holds heads that several things share, so that one word rarely decides a query;
`SINGLES` are things of their own.
"""

from __future__ import annotations

from functools import cache

KINDS = """
Trees: Elm, Birch, Oak, Maple, Willow, Cedar, Aspen, Linden, Poplar, Chestnut, Hazel, Rowan, Spruce, Larch, Fig, Olive
Tea: Green, Black, White, Mint, Ginger, Chamomile, Barley, Jasmine, Iced, Hibiscus, Nettle, Rooibos, Lemon, Milk
Coffee: Filter, Turkish, Iced, Black, Camp, Vietnamese, Decaf, Instant
Bread: Rye, Sourdough, Corn, Flat, Garlic, Banana, Soda, Walnut, Pumpkin, Barley
Cheese: Goat, Blue, Smoked, Cottage, Cream, Sheep, Alpine, Grilled, String
Soup: Tomato, Lentil, Onion, Pea, Noodle, Pumpkin, Mushroom, Leek, Fish, Beet, Potato, Miso
Salad: Potato, Fruit, Bean, Egg, Carrot, Cucumber, Pasta, Seaweed, Lentil
Pie: Apple, Cherry, Pecan, Lemon, Rhubarb, Meat, Fish, Peach, Plum, Mud
Cake: Carrot, Chocolate, Honey, Poppy Seed, Sponge, Almond, Lemon, Cheese, Marble
Jam: Plum, Apricot, Strawberry, Fig, Rose Hip, Gooseberry, Quince
Ice Cream: Vanilla, Pistachio, Coconut, Hazelnut, Strawberry, Coffee, Mango
Sauce: Apple, Chili, Oyster, Peanut, Mint, Tartar, Plum, Horseradish
Oil: Olive, Sesame, Walnut, Linseed, Coconut, Avocado
Salt: Sea, Rock, Smoked, Pink, Celery
Pepper: Cayenne, Black, Pink, Szechuan, Green
Beans: Black, Kidney, Green, Broad, Coffee, Jelly, Baked
Rice: Brown, Wild, Sticky, Fried, Jasmine, Red, Black
Noodles: Glass, Egg, Rice, Buckwheat, Cold
Music: Folk, Chamber, Organ, Disco, Brass Band, Film, Choral, Country, Baroque, Piano, Accordion, Street, Harp, Lute
Jazz: Gypsy, Swing, Latin, Free, Smooth, Vocal
Rock: Punk, Garage, Soft, Progressive, Glam, Indie, Desert
Dancing: Tap, Square, Ballroom, Belly, Line, Swing, Folk, Ice, Tango
Guitars: Slide, Bass, Classical, Steel, Electric, Toy
Drums: Hand, Steel, Snare, Frame, Kettle, Bongo
Novels: Crime, Graphic, Historical, Spy, Gothic, Romance, Sea, Campus, Western
Poetry: Love, Nature, Slam, Epic, Nonsense, War, Children's
Films: Silent, Spy, Horror, Heist, Western, Short, Animated, Nature, Road, Dance
Museums: Art, Science, Railway, Toy, Open-air, Wax, Maritime, Salt, Clock
Gardens: Rock, Rose, Herb, Roof, Water, Kitchen, Botanical, Walled, Winter, Moss
Roses: Wild, Climbing, Tea, Yellow, Dried, Miniature
Lilies: Water, Tiger, Day, Calla, Spider
Orchids: Moth, Slipper, Bee, Vanilla, Wild
Ferns: Tree, Maidenhair, Sword, Staghorn, Ostrich
Mosses: Peat, Reindeer, Spanish, Cushion
Berries: Juniper, Elder, Goji, Rowan, Mul, Salmon
Nuts: Brazil, Pine, Macadamia, Cashew, Tiger, Soap
Owls: Barn, Snowy, Tawny, Eagle, Burrowing, Pygmy
Ducks: Wood, Eider, Mandarin, Rubber, Tufted
Eagles: Golden, Bald, Sea, Harpy, Martial
Gulls: Herring, Laughing, Ivory, Black-headed
Terns: Arctic, Fairy, Sooty, Whiskered
Parrots: Grey, Eclectus, Amazon, Night
Penguins: Emperor, Rockhopper, King, Gentoo, Little
Finches: Zebra, Gold, Snow, Bull, Cactus
Warblers: Reed, Willow, Garden, Sedge
Woodpeckers: Green, Spotted, Pileated, Acorn
Bears: Polar, Brown, Sun, Sloth, Spectacled, Teddy, Gummy
Foxes: Arctic, Fennec, Red, Flying, Swift
Wolves: Grey, Maned, Arctic, Red
Cats: Siamese, Persian, Sand, Tabby, Black, Wild, Lucky, Fishing
Dogs: Sheep, Sled, Guide, Prairie, Hot, Lap, Water
Deer: Roe, Musk, Red, Fallow, Water
Goats: Mountain, Dwarf, Angora, Screaming
Sheep: Blackface, Merino, Bighorn, Island
Horses: Wild, Rocking, Work, Sea, Icelandic, Carousel
Monkeys: Spider, Howler, Squirrel, Snow, Proboscis
Bats: Fruit, Vampire, Horseshoe, Pipistrelle
Frogs: Tree, Dart, Glass, Bull, Rain
Turtles: Sea, Box, Snapping, Painted, Leatherback
Lizards: Frilled, Wall, Monitor, Thorny
Snakes: Grass, Coral, King, Rat, Paper
Whales: Blue, Humpback, Sperm, Minke, Pilot, Grey
Sharks: Hammerhead, Whale, Basking, Nurse, Reef
Rays: Manta, Eagle, Electric, Sting
Fish: Clown, Puffer, Flying, Cat, Lion, Angel, Gold, Parrot, Smoked
Crabs: Hermit, King, Fiddler, Horseshoe, Coconut
Shrimp: Mantis, Cleaner, Brine, Grilled
Beetles: Stag, Dung, Rhinoceros, Ground, Longhorn, Diving
Butterflies: Monarch, Peacock, Swallowtail, Blue, Glasswing
Moths: Hawk, Luna, Atlas, Emperor, Silk
Bees: Honey, Mason, Bumble, Carpenter, Orchid
Ants: Leafcutter, Army, Wood, Honeypot
Spiders: Jumping, Crab, Water, Garden, Trapdoor
Rocks: Volcanic, Skipping, Moon, Climbing, Painted
Stones: Stepping, Standing, Lucky, Rune, Whet
Boats: Paddle, Paper, Canal, House, Fishing, Rescue, Dragon
Ships: Tall, Container, Model, Viking, Pirate, Research
Trains: Night, Steam, Model, Mountain, Freight, Toy
Bicycles: Racing, Folding, Cargo, Tandem, Vintage, Mountain
Cars: Vintage, Rally, Electric, Toy, Cable, Bumper
Planes: Paper, Glider, Sea, Cargo, Model
Bridges: Rope, Stone, Suspension, Covered, Draw, Railway, Swing
Towers: Clock, Water, Bell, Radio, Watch, Leaning
Castles: Sand, Moated, Bouncy, Ruined, Hilltop
Lamps: Lava, Oil, Desk, Paper, Salt, Street
Clocks: Cuckoo, Grandfather, Water, Alarm, Chess, Sun
Chairs: Rocking, Deck, Folding, Wicker, Arm
Hats: Straw, Bowler, Party, Top, Sun, Felt
Shoes: Tap, Running, Wooden, Dancing, Snow, Suede
Socks: Woollen, Odd, Striped, Long
Coats: Rain, Duffle, Trench, Quilted
Scarves: Silk, Tartan, Football, Knitted
Paper: Marbled, Graph, Rice, Wrapping, Blotting, Tracing
Ink: Invisible, Violet, Iron Gall, Indian
Pens: Fountain, Quill, Gel, Reed, Felt-tip
Knives: Pocket, Bread, Palette, Oyster
Games: Board, Card, Word, Video, Parlour, Dice, Memory, Logic, Ring
Puzzles: Jigsaw, Sliding, Chess, Mechanical, Number
Chess: Blitz, Giant, Four-player, Correspondence, Fairy
Skating: Ice, Roller, Figure, Speed, Inline
Skiing: Water, Cross-country, Downhill, Night, Grass
Diving: Scuba, Free, Cliff, Cave, Wreck, Platform
Swimming: Winter, Lake, Synchronised, Open-water
Running: Trail, Fell, Night, Hurdle
Climbing: Ice, Tree, Rope, Indoor, Free
Sailing: Dinghy, Ocean, Ice, Model
Surfing: Kite, Wind, River, Body
Fishing: Fly, Ice, Crab, Magnet, Night
Racing: Pigeon, Sack, Drone, Snail, Soapbox
Riding: Horse, Camel, Trick, Elephant
Hockey: Ice, Field, Table, Underwater, Street
Polo: Water, Bicycle, Elephant, Canoe
Tennis: Table, Beach, Real, Wheelchair, Padel
Football: Table, Beach, Gaelic, Flag, Street
Painting: Oil, Face, Finger, Glass, Sand, Landscape, Wall
Pottery: Raku, Wheel, Slip, Coil, Roman
Printing: Letterpress, Screen, Linocut, Potato
Sculpture: Ice, Sand, Wire, Marble, Sound
Photography: Bird, Street, Portrait, Pinhole, Macro, Night, Aerial
Weaving: Basket, Tapestry, Carpet, Ribbon
Knitting: Arm, Cable, Lace, Loom
Carving: Wood, Soap, Pumpkin, Bone, Chip
Glass: Stained, Sea, Blown, Cut, Murano
Theatre: Puppet, Shadow, Street, Radio, Improvised
Opera: Comic, Rock, Soap, Chinese, Chamber
Magic: Card, Stage, Close-up, Coin
History: Roman, Oral, Maritime, Natural, Railway, Family
Maps: Old, Star, Tube, Treasure, Relief, Weather
Stamps: Airmail, Rubber, Triangular, Postage
Coins: Roman, Silver, Chocolate, Commemorative
Caves: Ice, Lava, Painted, Sea, Crystal
Lakes: Crater, Salt, Mountain, Frozen, Pink
Islands: Coral, Volcanic, Desert, River
Deserts: Cold, Salt, Red, Stone
Forests: Rain, Cloud, Kelp, Pine, Bamboo, Petrified
Storms: Thunder, Dust, Snow, Sand, Geomagnetic
Clouds: Storm, Feather, Mackerel, Lenticular
Moons: Full, Blue, Harvest
Stars: Shooting, Neutron, Double, Paper, Pole
Telescopes: Radio, Toy, Space, Solar
Geometry: Sacred, Fractal, Projective, Spherical
Numbers: Prime, Perfect, Imaginary, Lucky, Roman
Logic: Fuzzy, Modal, Temporal
Robots: Toy, Vacuum, Swarm, Soft
Languages: Sign, Invented, Dead, Whistled, Celtic
Alphabets: Runic, Cyrillic, Braille, Phonetic
Festivals: Lantern, Film, Jazz, Harvest, Kite, Light
Markets: Flea, Fish, Night, Flower, Christmas, Floating
Lanterns: Paper, Sky, Magic, Storm
Candles: Beeswax, Scented, Floating, Birthday
Baskets: Picnic, Wicker, Hanging, Fruit
Blankets: Picnic, Woollen, Weighted, Patchwork
Windows: Bay, Rose, Shop, Porthole
Doors: Revolving, Secret, Stable, Painted
Stairs: Spiral, Moving, Spanish
Pumpkins: Carved, Giant, Blue
Plums: Sugar, Yellow, Salted
Apples: Baked, Toffee, Crab, Red
Oranges: Blood, Candied, Bitter
Melons: Water, Honeydew, Bitter
Cabbage: Red, Pickled, Savoy
Potatoes: Sweet, Mashed, New, Purple
Mushrooms: Oyster, Button, Magic, Fairy Ring
Pickles: Dill, Mango, Onion
Dumplings: Soup, Plum, Potato, Steamed
Pancakes: Potato, Buckwheat, Dutch
Chocolate: Dark, White, Hot, Ruby
Honey: Heather, Manuka, Clover, Comb
Cider: Hot, Pear, Ice
Juice: Tomato, Carrot, Birch, Cherry
Windmills: Dutch, Toy, Corn
Balloons: Hot-air, Weather, Water
Fountains: Drinking, Musical, Chocolate
Springs: Mineral, Thermal
Stories: Ghost, Bedtime, Short, Folk, Detective
Songs: Sea, Work, Drinking, Bird
Riddles: Picture, Viking
Buttons: Brass, Shell, Coat
"""

SINGLES = """
Abacuses, Acrobatics, Acrostics, Aikido, Albatrosses, Algebra, Aliens, Allotments, Almonds, Alpacas, Amber, Ammonites,
Anagrams, Anchovies, Anemones, Antelopes, Antiques, Apricots, Aquariums, Aqueducts, Archery, Architecture, Armadillos,
Artichokes, Asparagus, Asteroids, Astronomy, Atlases, Auctions, Aurora Watching, Avocados, Axolotls, Azaleas, Badgers,
Badminton, Bagels, Bagpipes, Baking, Ballads, Bamboo, Bananas, Banjos, Barbecues, Barnacles, Barometers, Baseball,
Basil, Basketball, Bassoons, Bazaars, Beachcombing, Beavers, Bedtime, Beekeeping, Beetroot, Begonias, Bell Ringing,
Bicycles, Bilberries, Billiards, Bingo, Birdsong, Biscuits, Bison, Blackberries, Blacksmithing, Blizzards,
Blueberries, Bluebells, Bobsleigh, Bonfires, Bonsai, Bookbinding, Bookshops, Boomerangs, Bossa Nova, Botany,
Bouldering, Bowling, Bracelets, Braids, Brass, Breakfast, Brickwork, Broccoli, Bromeliads, Bronze, Brooches, Brunch,
Bubbles, Buffaloes, Bugles, Bungalows, Bunting, Burritos, Buses, Buttercups, Buttermilk, Cacti, Calendars,
Calligraphy, Calypso, Camels, Campfires, Camping, Canaries, Canals, Candyfloss, Canoes, Capers, Capybaras, Caramel,
Caravans, Cardamom, Caribou, Carillons, Carnations, Carnivals, Carousels, Carpentry, Cartography, Cartoons,
Cartwheels, Cashmere, Cassettes, Castanets, Caterpillars, Cathedrals, Cauliflower, Cellos, Celery, Ceramics,
Chameleons, Chandeliers, Charades, Charcoal, Cheetahs, Chemistry, Cherries, Chess, Chicory, Chickpeas, Chimneys,
Chinchillas, Chipmunks, Chives, Choirs, Chrysanthemums, Churros, Cicadas, Cinnamon, Circuses, Citadels, Clarinets,
Clay, Cliffs, Clogs, Cloves, Coconuts, Codes, Collages, Comets, Comics, Compasses, Composting, Concertinas, Condors,
Confetti, Constellations, Cookbooks, Coral, Coriander, Cormorants, Cornflowers, Corsets, Cosmology, Cotton, Couscous,
Cowbells, Coyotes, Crabapples, Cranberries, Cranes, Crayons, Cress, Cribbage, Cricket, Crickets, Crochet, Crocodiles,
Crocuses, Croissants, Croquet, Crosswords, Crows, Crumpets, Crystals, Cubism, Cucumbers, Cufflinks, Cumin, Curling,
Currants, Curry, Custard, Cutlery, Cuttlefish, Cycling, Cyclamen, Cymbals, Cypresses, Daffodils, Dahlias, Daisies,
Damask, Dandelions, Dark Matter, Darts, Dates, Daydreaming, Dragonflies, Decathlon, Denim, Diamonds, Diaries,
Dictionaries, Dinghies, Dinosaurs, Dioramas, Dolmens, Dolphins, Dominoes, Donkeys, Doodles, Doughnuts, Doves, Drawing,
Dragons, Driftwood, Dulcimers, Dunes, Dungarees, Earthworms, Earrings, Echoes, Eclipses, Edelweiss, Eels, Eggplants,
Elderflowers, Elephants, Elk, Embroidery, Emeralds, Emus, Enamel, Encyclopedias, Endives, Engravings, Entropy, Epics,
Espresso, Etching, Etymology, Eucalyptus, Euphoniums, Evolution, Fables, Fairgrounds, Falafel, Falcons, Fandango,
Fans, Farming, Felting, Fencing, Fennel, Ferries, Feta, Fiddles, Figs, Filigree, Fireflies, Fireplaces, Fireworks,
Fjords, Flags, Flamenco, Flamingos, Flax, Flea Circuses, Flint, Floorball, Flutes, Fog, Fondue, Forgeries,
Forget-me-nots, Fortresses, Fossils, Foxgloves, Fractals, Freckles, Frescoes, Frisbees, Frost, Fudge, Funiculars,
Furniture, Galaxies, Gargoyles, Garlic, Garnets, Gazebos, Gazpacho, Geckos, Geese, Gemstones, Genealogy, Geocaching,
Geodes, Geraniums, Geysers, Gherkins, Giraffes, Glaciers, Gladioli, Gliders, Globes, Glockenspiels, Gnocchi, Gnomes,
Goalkeepers, Gold Leaf, Golf, Gondolas, Gongs, Gooseberries, Gophers, Gorillas, Gospel, Gouache, Gouda, Graffiti,
Grammar, Granite, Granola, Grapefruit, Grapes, Grasshoppers, Gravity, Greenhouses, Greyhounds, Grottoes, Grouse,
Guavas, Guinea Pigs, Guppies, Gymnastics, Gyroscopes, Haddock, Haiku, Hail, Halva, Hammocks, Hamsters, Handball,
Handwriting, Hang Gliding, Harbours, Hares, Harmonicas, Harmony, Harps, Harpsichords, Hawthorn, Haystacks, Hazelnuts,
Headlands, Heather, Hedgehogs, Hedges, Helicopters, Helium, Heraldry, Herbs, Herons, Herring, Hibernation, Hiccups,
Hieroglyphs, Hiking, Hippos, Hoarfrost, Hollyhocks, Holograms, Honeysuckle, Hoopoes, Hopscotch, Hornbills, Horoscopes,
Horseradish, Hot Springs, Hourglasses, Hovercraft, Hummingbirds, Hummus, Hyacinths, Hydrangeas, Hyenas, Icebergs,
Icicles, Icing, Igloos, Iguanas, Illusions, Impressionism, Inlays, Insects, Interference, Irises, Ironwork, Ivory
Carvings, Ivy, Jackals, Jackdaws, Jade, Jaguars, Jasper, Javelins, Jays, Jellyfish, Jet Lag, Jewellery, Jigs, Jokes,
Judo, Juggling, Jukeboxes, Juniper, Kaleidoscopes, Kangaroos, Karaoke, Karate, Kayaks, Kazoos, Kebabs, Kelp, Kendo,
Kestrels, Ketchup, Kettles, Keyholes, Kilns, Kilts, Kimchi, Kimonos, Kingfishers, Kiosks, Kites, Kiwis, Knots, Koalas,
Koi, Kumquats, Laburnum, Labyrinths, Lace, Lacquer, Lacrosse, Ladybirds, Lagoons, Lamb, Lapwings, Larks, Lasagne,
Latin, Latitude, Lava, Lavender, Lawns, Leapfrog, Leather, Lecterns, Leeks, Legends, Lemmings, Lemonade, Lemons,
Lemurs, Lentils, Leopards, Letters, Lettuce, Libraries, Lichen, Lifeboats, Lighthouses, Lightning, Lilacs, Limericks,
Limes, Limestone, Linen, Lions, Liquorice, Lizards, Llamas, Lobsters, Lochs, Locks, Locomotives, Locusts, Looms,
Loquats, Lotteries, Lotus, Lullabies, Lupins, Lutes, Lychees, Lynxes, Lyrebirds, Lyres, Macaroni, Macaroons, Macaws,
Mackerel, Magnets, Magnolias, Magpies, Mahogany, Majolica, Malachite, Mammoths, Manatees, Mandalas, Mandarins,
Mandolins, Mangoes, Mangroves, Manuscripts, Marathons, Marble Runs, Marbles, Marigolds, Marimbas, Marionettes,
Marjoram, Marmalade, Marmots, Marshes, Marshmallows, Martens, Marzipan, Masks, Mazes, Mazurkas, Meadows, Meatballs,
Mechanics, Medlars, Meerkats, Megaliths, Merengue, Metaphors, Meteorites, Metronomes, Mezzotints, Microscopes,
Milkshakes, Millet, Millipedes, Mime, Minarets, Minerals, Mini Golf, Minuets, Mirages, Mirrors, Mist, Mistletoe,
Mittens, Moats, Mobiles, Mockingbirds, Molasses, Moles, Mollusks, Monasteries, Mongooses, Monorails, Monsoons,
Moonlight, Moorings, Moose, Mopeds, Morning Glories, Morse Code, Mosaics, Mosques, Motets, Moths, Motorcycles,
Mountains, Moussaka, Mudflats, Muesli, Muffins, Mulch, Mulberries, Mules, Mummies, Murals, Musicals, Muskoxen,
Mussels, Mustard, Myths, Nachos, Narwhals, Nasturtiums, Nebulae, Nectarines, Needlework, Neon, Nests, Newts,
Nightingales, Nightjars, Noctilucence, Nomads, Nonograms, Nougat, Nuthatches, Nutmeg, Oases, Oats, Obelisks, Oboes,
Observatories, Obsidian, Ocarinas, Oceans, Ocelots, Octopuses, Odes, Okapis, Okra, Oleander, Olives, Omelettes,
Onions, Onyx, Opals, Opossums, Optics, Oracles, Orangutans, Orchards, Orchestras, Oregano, Orienteering, Origami,
Orioles, Ornithology, Oryxes, Ospreys, Ostriches, Otters, Ottomans, Overtures, Oxbows, Oysters, Paella, Pagodas,
Palaces, Palindromes, Palms, Pandas, Pangolins, Pansies, Pantomime, Papayas, Paperweights, Papier-mâché, Paprika,
Papyrus, Parachutes, Paradoxes, Parakeets, Parkour, Parmesan, Parsley, Parsnips, Partridges, Passports, Pasta,
Pastels, Pastries, Patchwork, Peaches, Peacocks, Peanuts, Pearls, Pears, Peas, Pebbles, Pecans, Pelicans, Pendulums,
Peninsulas, Peonies, Peppermint, Percussion, Perfume, Periscopes, Periwinkles, Persimmons, Petals, Petunias,
Pheasants, Philosophy, Phoenixes, Phonetics, Physics, Pianos, Piccolos, Picnics, Piers, Pigeons, Pigments, Pigs,
Pilgrimages, Pinball, Pinecones, Pineapples, Pinnacles, Pirates, Pistachios, Pizza, Plaid, Planetariums, Plankton,
Plateaus, Platypuses, Playgrounds, Pogo Sticks, Poker, Polenta, Polkas, Polygons, Pomegranates, Pomelos, Ponchos,
Ponds, Ponies, Popcorn, Poppies, Porcelain, Porcupines, Porpoises, Porridge, Postcards, Posters, Prawns, Pretzels,
Primroses, Prisms, Proverbs, Puddings, Puddles, Puffins, Puns, Puppets, Pyramids, Pythons, Quadrilles, Quails,
Quarries, Quartz, Quasars, Quesadillas, Quiche, Quilts, Quince, Quinoa, Quizzes, Quokkas, Quoits, Rabbits, Raccoons,
Radios, Radishes, Rafting, Ragtime, Rainbows, Raisins, Raspberries, Rattan, Ravens, Ravioli, Reefs, Reggae, Reindeer,
Relay Races, Reptiles, Resin, Rhinos, Rhododendrons, Rhubarb, Rhymes, Ribbons, Risotto, Rivers, Robins, Rockets,
Rodeos, Rollercoasters, Rosemary, Rowing, Rubies, Rugby, Rugs, Ruins, Rumba, Runes, Rust, Saffron, Sagas, Sailors,
Salamanders, Salmon, Salsa, Samovars, Sampans, Sandals, Sandpipers, Sandstone, Sandwiches, Sapphires, Sardines,
Satellites, Saunas, Savannas, Saxophones, Scarecrows, Scones, Scooters, Scorpions, Scrabble, Scrapbooks, Scrolls,
Seagrass, Sea Lions, Seals, Seashells, Seaweed, Seesaws, Semaphore, Sepia, Sequins, Sequoias, Serenades, Sestinas,
Shadows, Shallots, Shanties, Shawls, Shepherds, Sherbet, Shipwrecks, Shortbread, Shrews, Sidecars, Silhouettes, Silk,
Silverware, Sitars, Skateboards, Skeletons, Sketchbooks, Skydiving, Skylarks, Skyscrapers, Sledges, Sloths, Smoothies,
Snails, Snooker, Snorkelling, Snowdrops, Snowflakes, Snowmen, Soap, Solstices, Sonatas, Sonnets, Sorbet, Sorrel,
Souvenirs, Spaghetti, Sparrows, Spectroscopy, Spelling Bees, Sphinxes, Spices, Spinach, Spinning Tops, Spirals,
Sponges, Spoons, Sprouts, Squash, Squids, Squirrels, Stalactites, Starfish, Starlings, Statistics, Statues, Steel
Pans, Stencils, Stilts, Stoats, Storks, Strawberries, Streetcars, Submarines, Sudoku, Sugar, Sunflowers, Sunrises,
Sunsets, Surrealism, Sushi, Swallows, Swamps, Swans, Sweaters, Swifts, Swings, Symmetry, Symphonies, Synthesizers,
Tacos, Tadpoles, Tai Chi, Tamarinds, Tambourines, Tandems, Tangerines, Tapas, Tapestries, Tapirs, Tarantulas,
Tarragon, Tartan, Tassels, Tattoos, Taxidermy, Tea Cosies, Teapots, Telegraphs, Tempera, Tents, Termites, Terraces,
Terracotta, Terrariums, Tessellations, Thatch, Thermometers, Thimbles, Thistles, Thrushes, Thunder, Thyme, Tides,
Tigers, Tightropes, Tiles, Timpani, Tinsmithing, Toads, Toast, Toboggans, Toffee, Tofu, Tomatoes, Tongue Twisters,
Topaz, Topiary, Topology, Tornadoes, Tortillas, Tortoises, Totem Poles, Toucans, Tractors, Trampolines, Trapeze,
Treehouses, Triathlon, Trifle, Trilobites, Tritons, Trombones, Trout, Truffles, Trumpets, Tubas, Tugboats, Tulips,
Tumbleweed, Tuna, Tundra, Tunnels, Turbines, Turmeric, Turnips, Turquoise, Tweed, Twilight, Typewriters, Typography,
Ukuleles, Umbrellas, Unicorns, Unicycles, Valleys, Vanilla, Vases, Vaudeville, Velvet, Ventriloquism, Verandas,
Viaducts, Vinegar, Vineyards, Violas, Violets, Violins, Volcanoes, Volleyball, Voyages, Vultures, Waffles, Wagtails,
Walking, Wallabies, Wallpaper, Walnuts, Walruses, Waltzes, Wasabi, Watches, Watercolours, Watercress, Waterfalls,
Watermills, Waves, Weasels, Weathervanes, Weddings, Wheelbarrows, Whirlpools, Whistles, Whittling, Wigs, Wildebeest,
Wind Chimes, Windowsills, Winemaking, Wisteria, Wolverines, Wombats, Wood Grain, Woodlice, Wool, Wordplay, Worms,
Wreaths, Wrens, Wrestling, Xylophones, Yachts, Yaks, Yarrow, Yodelling, Yoga, Yoghurt, Yo-yos, Zebras, Zeppelins,
Zinnias, Zithers, Zodiacs, Zoos, Zucchini
"""


@cache
def things() -> tuple[str, ...]:
    """Return all of them, each once, in alphabetical order."""
    found = {" ".join(single.split()) for single in SINGLES.split(",")}
    for line in KINDS.strip().splitlines():
        head, _, kinds = line.partition(": ")
        found |= {f"{kind} {head}" for kind in kinds.split(", ")}
    return tuple(sorted(found))
