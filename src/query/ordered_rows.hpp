// Rows in an order, by place: a search tree that counts. Finding, inserting and erasing take O(log n), so that a live
// query over many rows costs no more per change than one over few.
//
// The tree is balanced by chance (Martínez and Roura, "Randomized binary search trees", 1998): any of n rows is the
// root with probability 1/n, whatever the history.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <nizhal/value.hpp>

namespace nizhal {

/// A total order: equal means the same row, by its key.
using RowOrder = std::function<std::strong_ordering(const Row& left, const Row& right)>;

class OrderedRows {
 public:
  explicit OrderedRows(RowOrder order) : order_(std::move(order)) {}

  std::size_t size() const { return size_of(root_); }
  const Row& operator[](std::size_t index) const;  // index < size()
  /// Rows from `first` on, at most `count`. Valid until the next change.
  std::vector<const Row*> rows(std::size_t first, std::size_t count) const;
  struct Place {
    std::size_t index = 0;  // where it is, or belongs
    bool is_found = false;
  };
  Place find(const Row& row) const;

  /// `sorted` is in the order, each row once.
  void assign(std::vector<Row> sorted);
  /// `index` is where it belongs.
  void insert(std::size_t index, Row row);
  Row erase(std::size_t index);
  /// By one that belongs to the same place.
  Row replace(std::size_t index, Row row);
  /// Keeps the first `size` rows.
  void truncate(std::size_t size);

 private:
  struct Node;
  using Tree = std::unique_ptr<Node>;
  struct Node {
    Row row;
    Tree left = {}, right = {};
    std::size_t size = 1;
  };
  static std::size_t size_of(const Tree& tree) { return tree ? tree->size : 0; }
  static void count(Node& node) { node.size = 1 + size_of(node.left) + size_of(node.right); }
  static Tree balanced(std::vector<Row>& sorted, std::size_t begin, std::size_t end);
  static void collect(const Tree& tree, std::size_t first, std::size_t count, std::vector<const Row*>& rows);
  void insert(Tree& tree, std::size_t index, Tree node);
  Tree erase(Tree& tree, std::size_t index);
  void split(Tree tree, std::size_t index, Tree& left, Tree& right);
  Tree join(Tree left, Tree right);
  Node& node_at(std::size_t index) const;
  std::size_t draw(std::size_t below);

  RowOrder order_;
  Tree root_;
  std::uint64_t random_ = 0x9E3779B97F4A7C15ULL;  // only shapes the tree
};

}  // namespace nizhal
