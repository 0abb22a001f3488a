// `<run-service <config-watcher "PATH" {NAME: VALUE …}>>`.

#include "init/config/watcher_site.h"

using namespace muster;
using namespace muster::config;

TEST_CASE("the service") {
    Site site;
    site.folder.write("a.pr", "<a> let ?x = $who <who $x>");
    Value name = preserves::record(
        "config-watcher", {preserves::string(site.folder.path()),
                           preserves::dictionary({{"config", dataspace::embed(site.world.config)},
                                                  {"who", preserves::symbol("me")}})});
    Value run = preserves::record("run-service", {name});
    Ref<dataspace::Facet> server;
    site.world.turn([&](dataspace::Turn& turn) {
        server = turn.facet([&](dataspace::Turn& inner) {
            serve_config_watchers(inner, *site.loop, site.world.config,
                                  [&](const Problem& problem) { site.report(problem); });
        });
    });
    auto count_states = [&](const char* state) {
        return std::count_if(site.world.facts.begin(), site.world.facts.end(),
                             [&](const std::string& fact) {
                                 return fact.starts_with("<service-state <config-watcher ") &&
                                        fact.ends_with(std::string(" ") + state + ">");
                             });
    };
    dataspace::Handle handle = 0;
    site.world.turn([&](dataspace::Turn& t) { handle = t.assert_(site.world.config, run); });
    CHECK(count_states("started") == 1);
    CHECK(count_states("ready") == 1);
    CHECK(site.world.has("<who me>"));
    site.world.remove(handle);
    CHECK(site.world.facts.empty());
    site.world.add("<run-service <config-watcher what {}>>");
    CHECK(count_states("failed") == 1);
    CHECK(site.reports.size() == 1);
    site.world.turn([&](dataspace::Turn& turn) { turn.stop(*server); });
}

TEST_CASE("scripts can watch further directories, with a narrower config") {
    Site site;
    site.folder.make("core");
    site.folder.make("top");
    site.folder.write("core/a.pr", "<require-service <daemon x>>");
    site.folder.write("top/top.pr", "let ?narrow = <* $config [<or [\n"
                                    "  <rewrite <require-service ?s> <require-core-service $s>>\n"
                                    "  <accept _>]>]>\n"
                                    "let ?base = scriptdir\n"
                                    "let ?dir = join \"/\" [$base \"..\" \"core\"]\n"
                                    "<run-service <config-watcher $dir {config: $narrow}>>\n");
    Ref<dataspace::Facet> server;
    site.world.turn([&](dataspace::Turn& turn) {
        server = turn.facet([&](dataspace::Turn& inner) {
            serve_config_watchers(inner, *site.loop, site.world.config,
                                  [&](const Problem& problem) { site.report(problem); });
        });
    });
    site.watch(site.folder.at("top"));
    CHECK(site.until_fact("<require-core-service <daemon x>>"));
    site.stop();
    site.world.turn([&](dataspace::Turn& turn) { turn.stop(*server); });
    CHECK(site.world.facts.empty());
}
