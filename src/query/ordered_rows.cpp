#include "query/ordered_rows.hpp"

#include <utility>

namespace nizhal {

std::size_t OrderedRows::draw(std::size_t below) {
  random_ ^= random_ << 13;  // Marsaglia's xorshift
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<std::size_t>(random_ % below);
}

OrderedRows::Node& OrderedRows::node_at(std::size_t index) const {
  Node* node = root_.get();
  while (true) {
    const std::size_t before = size_of(node->left);
    if (index == before) return *node;
    if (index < before) {
      node = node->left.get();
    } else {
      index -= before + 1;
      node = node->right.get();
    }
  }
}

const Row& OrderedRows::operator[](std::size_t index) const { return node_at(index).row; }

void OrderedRows::collect(const Tree& tree, std::size_t first, std::size_t count, std::vector<const Row*>& rows) {
  if (!tree || count == 0) return;
  const std::size_t before = size_of(tree->left);
  if (first < before) collect(tree->left, first, count, rows);
  if (first <= before && before - first < count) rows.push_back(&tree->row);
  // Of the right side what is left of [first, first + count).
  const std::size_t skipped = before + 1;
  if (first >= skipped) {
    collect(tree->right, first - skipped, count, rows);
  } else if (count > skipped - first) {
    collect(tree->right, 0, count - (skipped - first), rows);
  }
}

std::vector<const Row*> OrderedRows::rows(std::size_t first, std::size_t count) const {
  std::vector<const Row*> found;
  collect(root_, first, count, found);
  return found;
}

OrderedRows::Place OrderedRows::find(const Row& row) const {
  std::size_t index = 0;
  const Node* node = root_.get();
  while (node) {
    const auto ordering = order_(row, node->row);
    if (ordering == 0) return {index + size_of(node->left), true};
    if (ordering < 0) {
      node = node->left.get();
    } else {
      index += size_of(node->left) + 1;
      node = node->right.get();
    }
  }
  return {index, false};
}

OrderedRows::Tree OrderedRows::balanced(std::vector<Row>& sorted, std::size_t begin, std::size_t end) {
  if (begin == end) return nullptr;
  const std::size_t middle = begin + (end - begin) / 2;
  auto node = std::make_unique<Node>(Node{std::move(sorted[middle])});
  node->left = balanced(sorted, begin, middle);
  node->right = balanced(sorted, middle + 1, end);
  count(*node);
  return node;
}

void OrderedRows::assign(std::vector<Row> sorted) { root_ = balanced(sorted, 0, sorted.size()); }

void OrderedRows::insert(std::size_t index, Row row) {
  insert(root_, index, std::make_unique<Node>(Node{std::move(row)}));
}

void OrderedRows::insert(Tree& tree, std::size_t index, Tree node) {
  if (draw(size_of(tree) + 1) == 0) {
    split(std::move(tree), index, node->left, node->right);
    count(*node);
    tree = std::move(node);
    return;
  }
  const std::size_t before = size_of(tree->left);
  if (index <= before) {
    insert(tree->left, index, std::move(node));
  } else {
    insert(tree->right, index - before - 1, std::move(node));
  }
  count(*tree);
}

void OrderedRows::split(Tree tree, std::size_t index, Tree& left, Tree& right) {
  if (!tree) {
    left.reset();
    right.reset();
    return;
  }
  const std::size_t before = size_of(tree->left);
  if (index <= before) {
    Tree rest;
    split(std::move(tree->left), index, left, rest);
    tree->left = std::move(rest);
    count(*tree);
    right = std::move(tree);
  } else {
    Tree rest;
    split(std::move(tree->right), index - before - 1, rest, right);
    tree->right = std::move(rest);
    count(*tree);
    left = std::move(tree);
  }
}

OrderedRows::Tree OrderedRows::join(Tree left, Tree right) {
  if (!left) return right;
  if (!right) return left;
  if (draw(left->size + right->size) < left->size) {
    left->right = join(std::move(left->right), std::move(right));
    count(*left);
    return left;
  }
  right->left = join(std::move(left), std::move(right->left));
  count(*right);
  return right;
}

Row OrderedRows::erase(std::size_t index) { return std::move(erase(root_, index)->row); }

OrderedRows::Tree OrderedRows::erase(Tree& tree, std::size_t index) {
  const std::size_t before = size_of(tree->left);
  if (index == before) {
    Tree gone = std::move(tree);
    tree = join(std::move(gone->left), std::move(gone->right));
    return gone;
  }
  Tree gone = index < before ? erase(tree->left, index) : erase(tree->right, index - before - 1);
  count(*tree);
  return gone;
}

Row OrderedRows::replace(std::size_t index, Row row) { return std::exchange(node_at(index).row, std::move(row)); }

void OrderedRows::truncate(std::size_t size) {
  if (size >= this->size()) return;
  Tree rest;
  split(std::move(root_), size, root_, rest);
}

}  // namespace nizhal
