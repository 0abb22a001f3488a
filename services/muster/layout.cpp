#include "services/muster/layout.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace muster::command {

namespace {

constexpr size_t none = static_cast<size_t>(-1);
constexpr size_t most_bends = 20'000; // of all edges; what is more is drawn straight
constexpr int order_sweeps = 12;
constexpr int place_sweeps = 16;

// A node or a bend, as the layers see it.
struct Item {
    size_t node = none; // none: a bend
    size_t edge = none; // of a bend
    size_t layer = 0;
    size_t place = 0; // in the layer
    double y = 0;
    std::vector<size_t> left, right; // neighbours
};

// The layers of one group of nodes.
class Group {
  public:
    Group(Layout& layout, const std::vector<size_t>& nodes, const std::vector<size_t>& edges)
        : layout_(layout), nodes_(nodes), edges_(edges) {}

    void arrange() {
        make_items();
        order();
        place();
    }
    // Moves it to where it belongs and tells its size.
    void settle(double top, double& width, double& height);

  private:
    void make_items();
    void order();
    void sweep(bool rightwards);
    size_t count_crossings() const;
    void renumber();
    void place();

    Layout& layout_;
    const std::vector<size_t>& nodes_;
    const std::vector<size_t>& edges_;
    std::vector<Item> items_;
    std::vector<std::vector<size_t>> layers_;
};

void Group::make_items() {
    std::vector<size_t> item_of(layout_.nodes.size(), none);
    size_t layers = 0;
    for (size_t node : nodes_) {
        item_of[node] = items_.size();
        Item item;
        item.node = node;
        item.layer = layout_.nodes[node].layer;
        items_.push_back(std::move(item));
        layers = std::max(layers, layout_.nodes[node].layer + 1);
    }
    auto connect = [&](size_t left, size_t right) {
        items_[left].right.push_back(right);
        items_[right].left.push_back(left);
    };
    size_t bends = 0;
    for (size_t each : edges_) {
        LayoutEdge& edge = layout_.edges[each];
        size_t left = item_of[edge.turned ? edge.to : edge.from];
        size_t right = item_of[edge.turned ? edge.from : edge.to];
        size_t span = items_[right].layer - items_[left].layer;
        if (bends + span > most_bends) continue;
        bends += span;
        for (size_t layer = items_[left].layer + 1; layer < items_[right].layer; ++layer) {
            Item bend;
            bend.edge = each;
            bend.layer = layer;
            items_.push_back(std::move(bend));
            connect(left, items_.size() - 1);
            left = items_.size() - 1;
        }
        connect(left, right);
    }
    layers_.resize(layers);
    // At first in the order in which they are met from the left.
    std::vector<bool> seen(items_.size());
    for (size_t first = 0; first < items_.size(); ++first) {
        std::vector<size_t> open{first};
        while (!open.empty()) {
            size_t each = open.back();
            open.pop_back();
            if (seen[each]) continue;
            seen[each] = true;
            layers_[items_[each].layer].push_back(each);
            for (size_t i = items_[each].right.size(); i-- > 0;)
                open.push_back(items_[each].right[i]);
        }
    }
    renumber();
}

void Group::renumber() {
    for (auto& layer : layers_)
        for (size_t i = 0; i < layer.size(); ++i)
            items_[layer[i]].place = i;
}

size_t Group::count_crossings() const {
    size_t all = 0;
    for (const auto& layer : layers_) {
        std::vector<std::pair<size_t, size_t>> edges;
        for (size_t each : layer)
            for (size_t right : items_[each].right)
                edges.emplace_back(items_[each].place, items_[right].place);
        all += crossings(std::move(edges));
    }
    return all;
}

void Group::sweep(bool rightwards) {
    for (size_t step = 1; step < layers_.size(); ++step) {
        auto& layer = layers_[rightwards ? step : layers_.size() - 1 - step];
        std::vector<std::pair<double, size_t>> wanted;
        for (size_t each : layer) {
            const auto& beside = rightwards ? items_[each].left : items_[each].right;
            double sum = 0;
            for (size_t other : beside)
                sum += static_cast<double>(items_[other].place);
            wanted.emplace_back(beside.empty() ? static_cast<double>(items_[each].place)
                                               : sum / static_cast<double>(beside.size()),
                                each);
        }
        std::stable_sort(wanted.begin(), wanted.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        for (size_t i = 0; i < layer.size(); ++i) {
            layer[i] = wanted[i].second;
            items_[layer[i]].place = i;
        }
    }
}

void Group::order() {
    auto best = layers_;
    size_t fewest = count_crossings();
    for (int i = 0; i < order_sweeps && fewest > 0; ++i) {
        sweep(i % 2 == 0);
        if (size_t now = count_crossings(); now < fewest) {
            fewest = now;
            best = layers_;
        }
    }
    layers_ = std::move(best);
    renumber();
}

void Group::place() {
    double step = layout_.node_height + layout_.row_gap;
    // Bends may lie closer together than nodes.
    auto distance = [&](const Item& a, const Item& b) {
        if (a.node == none && b.node == none) return layout_.row_gap;
        return a.node == none || b.node == none ? (step + layout_.row_gap) / 2 : step;
    };
    for (auto& layer : layers_) {
        double y = 0;
        for (size_t i = 0; i < layer.size(); ++i) {
            if (i > 0) y += distance(items_[layer[i - 1]], items_[layer[i]]);
            items_[layer[i]].y = y;
        }
    }
    for (int round = 0; round < place_sweeps; ++round) {
        bool rightwards = round % 2 == 0;
        for (size_t at = 0; at < layers_.size(); ++at) {
            auto& layer = layers_[rightwards ? at : layers_.size() - 1 - at];
            std::vector<double> wanted, gaps;
            for (size_t i = 0; i < layer.size(); ++i) {
                const Item& item = items_[layer[i]];
                if (i > 0) gaps.push_back(distance(items_[layer[i - 1]], item));
                std::vector<double> near;
                // In the last rounds both sides count.
                bool both = round >= place_sweeps / 2;
                if (rightwards || both || item.right.empty())
                    for (size_t other : item.left)
                        near.push_back(items_[other].y);
                if (!rightwards || both || item.left.empty())
                    for (size_t other : item.right)
                        near.push_back(items_[other].y);
                double sum = 0;
                for (double each : near)
                    sum += each;
                wanted.push_back(near.empty() ? item.y : sum / static_cast<double>(near.size()));
            }
            std::vector<double> places = spread(wanted, gaps);
            for (size_t i = 0; i < layer.size(); ++i)
                items_[layer[i]].y = places[i];
        }
    }
}

void Group::settle(double top, double& width, double& height) {
    double least = 0, most = 0;
    bool first = true;
    for (const Item& item : items_) {
        least = first ? item.y : std::min(least, item.y);
        most = first ? item.y : std::max(most, item.y);
        first = false;
    }
    double shift = top + layout_.node_height / 2 - least;
    std::vector<double> left(layers_.size()), wide(layers_.size());
    double x = 0;
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
        for (size_t each : layers_[layer])
            if (items_[each].node != none)
                wide[layer] = std::max(wide[layer], layout_.nodes[items_[each].node].width);
        left[layer] = x;
        x += wide[layer] + layout_.layer_gap;
    }
    for (const Item& item : items_)
        if (item.node != none) {
            layout_.nodes[item.node].x = left[item.layer];
            layout_.nodes[item.node].y = item.y + shift;
        } else {
            auto& bends = layout_.edges[item.edge].bends;
            bends.emplace_back(left[item.layer], item.y + shift);
            bends.emplace_back(left[item.layer] + wide[item.layer], item.y + shift);
        }
    for (size_t each : edges_)
        std::sort(layout_.edges[each].bends.begin(), layout_.edges[each].bends.end());
    width = x - layout_.layer_gap;
    height = most - least + layout_.node_height;
}

// Turns edges so that no circle is left: those that lead back to where the search came from.
void break_circles(Layout& layout, const std::vector<std::vector<size_t>>& out) {
    enum class Mark : uint8_t { fresh, open, done };
    std::vector<Mark> marks(layout.nodes.size(), Mark::fresh);
    struct Step {
        size_t node;
        size_t next = 0;
    };
    for (size_t root = 0; root < layout.nodes.size(); ++root) {
        if (marks[root] != Mark::fresh) continue;
        std::vector<Step> path{{root}};
        marks[root] = Mark::open;
        while (!path.empty()) {
            Step& here = path.back();
            if (here.next == out[here.node].size()) {
                marks[here.node] = Mark::done;
                path.pop_back();
                continue;
            }
            LayoutEdge& edge = layout.edges[out[here.node][here.next++]];
            if (marks[edge.to] == Mark::open) edge.turned = true;
            if (marks[edge.to] != Mark::fresh) continue;
            marks[edge.to] = Mark::open;
            path.push_back({edge.to});
        }
    }
}

// Each node in the layer behind all that lead to it; those that nothing leads to move as far to
// the right as they can.
void assign_layers(Layout& layout) {
    size_t count = layout.nodes.size();
    std::vector<std::vector<size_t>> out(count);
    std::vector<size_t> missing(count);
    for (const LayoutEdge& edge : layout.edges) {
        out[edge.turned ? edge.to : edge.from].push_back(edge.turned ? edge.from : edge.to);
        ++missing[edge.turned ? edge.from : edge.to];
    }
    std::vector<size_t> in_count = missing;
    std::vector<size_t> ready;
    for (size_t i = 0; i < count; ++i)
        if (missing[i] == 0) ready.push_back(i);
    for (size_t i = 0; i < ready.size(); ++i)
        for (size_t to : out[ready[i]]) {
            layout.nodes[to].layer =
                std::max(layout.nodes[to].layer, layout.nodes[ready[i]].layer + 1);
            if (--missing[to] == 0) ready.push_back(to);
        }
    for (size_t i = 0; i < count; ++i) {
        if (in_count[i] > 0 || out[i].empty()) continue;
        size_t nearest = none;
        for (size_t to : out[i])
            nearest = std::min(nearest, layout.nodes[to].layer);
        layout.nodes[i].layer = nearest - 1;
    }
}

} // namespace

std::vector<double> spread(const std::vector<double>& wanted, const std::vector<double>& gap) {
    // Without the gaps this is: the nearest sequence that never falls.
    struct Block {
        double sum;
        size_t count;
        double mean() const { return sum / static_cast<double>(count); }
    };
    std::vector<Block> blocks;
    double offset = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (i > 0) offset += gap[i - 1];
        blocks.push_back({wanted[i] - offset, 1});
        while (blocks.size() > 1 && blocks[blocks.size() - 2].mean() > blocks.back().mean()) {
            Block last = blocks.back();
            blocks.pop_back();
            blocks.back().sum += last.sum;
            blocks.back().count += last.count;
        }
    }
    std::vector<double> places;
    offset = 0;
    for (const Block& block : blocks)
        for (size_t i = 0; i < block.count; ++i) {
            if (!places.empty()) offset += gap[places.size() - 1];
            places.push_back(block.mean() + offset);
        }
    return places;
}

size_t crossings(std::vector<std::pair<size_t, size_t>> edges) {
    std::sort(edges.begin(), edges.end());
    size_t places = 0;
    for (const auto& [left, right] : edges)
        places = std::max(places, right + 1);
    // How many edges so far end at each place, in a Fenwick tree.
    std::vector<size_t> tree(places + 1);
    size_t all = 0, seen = 0;
    for (const auto& [left, right] : edges) {
        size_t not_beyond = 0;
        for (size_t i = right + 1; i > 0; i &= i - 1)
            not_beyond += tree[i];
        all += seen - not_beyond;
        for (size_t i = right + 1; i <= places; i += i & (~i + 1))
            ++tree[i];
        ++seen;
    }
    return all;
}

void Layout::arrange() {
    std::vector<std::vector<size_t>> out(nodes.size());
    std::vector<std::vector<size_t>> touching(nodes.size());
    for (size_t i = 0; i < edges.size(); ++i) {
        edges[i].turned = false;
        edges[i].bends.clear();
        out[edges[i].from].push_back(i);
        touching[edges[i].from].push_back(i);
        touching[edges[i].to].push_back(i);
    }
    for (LayoutNode& node : nodes)
        node.layer = 0;
    break_circles(*this, out);
    assign_layers(*this);

    struct Part {
        std::vector<size_t> nodes, edges;
    };
    std::vector<Part> parts;
    std::vector<size_t> single;
    std::vector<bool> seen(nodes.size()), edge_seen(edges.size());
    for (size_t root = 0; root < nodes.size(); ++root) {
        if (seen[root]) continue;
        if (touching[root].empty()) {
            single.push_back(root);
            continue;
        }
        Part part;
        std::vector<size_t> open{root};
        seen[root] = true;
        while (!open.empty()) {
            size_t each = open.back();
            open.pop_back();
            part.nodes.push_back(each);
            for (size_t edge : touching[each]) {
                if (!edge_seen[edge]) part.edges.push_back(edge);
                edge_seen[edge] = true;
                for (size_t other : {edges[edge].from, edges[edge].to}) {
                    if (seen[other]) continue;
                    seen[other] = true;
                    open.push_back(other);
                }
            }
        }
        std::sort(part.nodes.begin(), part.nodes.end());
        std::sort(part.edges.begin(), part.edges.end());
        parts.push_back(std::move(part));
    }
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Part& a, const Part& b) { return a.nodes.size() > b.nodes.size(); });
    double top = 0;
    width = 0;
    for (const Part& part : parts) {
        Group group(*this, part.nodes, part.edges);
        group.arrange();
        double wide = 0, high = 0;
        group.settle(top, wide, high);
        width = std::max(width, wide);
        top += high + 2 * node_height;
    }
    height = parts.empty() ? 0 : top - 2 * node_height;
    if (single.empty()) return;
    double column = 0;
    for (size_t each : single)
        column = std::max(column, nodes[each].width);
    double room = std::max(width, wrap);
    auto per_row = static_cast<size_t>(std::max(1.0, (room + row_gap) / (column + row_gap)));
    for (size_t i = 0; i < single.size(); ++i) {
        LayoutNode& node = nodes[single[i]];
        node.x = static_cast<double>(i % per_row) * (column + row_gap);
        node.y = top + node_height / 2 + static_cast<double>(i / per_row) * (node_height + row_gap);
        width = std::max(width, node.x + node.width);
        height = node.y + node_height / 2;
    }
}

} // namespace muster::command
